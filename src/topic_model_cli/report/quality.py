"""The report's section on quality: figures, gates, and what ground truth says where there is any."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from topic_model_cli.report.text import esc, number, plural
from topic_model_cli.summary import Evaluation, RunSummary


class _Figure(NamedTuple):
    """How a quality figure is told; ``gate`` names its bound in the settings."""

    name: str
    title: str
    gate: str | None
    decimals: int
    meaning: str
    formula: str


_FIGURES = (
    _Figure(
        "c_npmi",
        "Coherence (c_npmi)",
        "min_c_npmi",
        3,
        "Whether the ten most probable terms of a topic stand in the same campaigns: 1 always, 0 as by chance, "
        "−1 never.",
        "mean over topics and pairs of terms of ln(p(a, b) / (p(a) p(b))) / −ln p(a, b)",
    ),
    _Figure(
        "topic_diversity",
        "Topic diversity",
        "min_topic_diversity",
        3,
        "Whether the topics differ: 1 when no two share a term among their ten most probable.",
        "distinct terms among all top tens / all of them",
    ),
    _Figure(
        "perplexity_ratio",
        "Perplexity ratio",
        "max_perplexity_ratio",
        3,
        "How much better the topics foresee the words of campaigns kept out of training than word frequencies do: "
        "below 1 they help, lower is better.",
        "perplexity / unigram perplexity, on the same held-out words",
    ),
    _Figure(
        "perplexity",
        "Perplexity",
        None,
        0,
        "Among how many equally likely words the model hesitates, on held-out campaigns; lower is better.",
        "exp(−mean ln p(word)), a campaign's other words given",
    ),
    _Figure(
        "unigram_perplexity",
        "Unigram perplexity",
        None,
        0,
        "The same without topics, from word frequencies: the yardstick of the ratio above.",
        "exp(−mean ln p(word))",
    ),
    _Figure(
        "coverage",
        "Coverage",
        "min_coverage",
        3,
        "Share of campaigns with at least one term that the model knows; the others have no fingerprint.",
        "campaigns with a known term / campaigns",
    ),
)


def quality(summary: RunSummary) -> str:
    """The evaluation's figures and gates, and what ground truth says where there is any."""
    parts = []
    if summary.retrieval is not None:
        parts.append(_retrieval(summary.retrieval))
    if summary.evaluation is not None:
        parts.append(_gates(summary.evaluation))
    return f'<section id="quality"><h2>Quality</h2>{"".join(parts)}</section>' if parts else ""


def _retrieval(found: Mapping[str, object]) -> str:
    k = found.get("k", 5)

    def figure(source: object, name: str) -> float | None:
        value = source.get(name) if isinstance(source, Mapping) else None
        return float(value) if isinstance(value, int | float) else None

    def bars(source: object) -> str:
        rows = (
            ("this model", figure(source, f"precision_at_{k}"), True),
            ("TF-IDF cosine", figure(source, f"tfidf_precision_at_{k}"), False),
            ("by chance", figure(source, "chance"), False),
        )
        return "".join(
            f'<div><span>{name}</span><span class="meter{" strong" if strong else ""}">'
            f'<span style="width:{100 * value:.1f}%"></span></span><b>{value:.3f}</b></div>'
            for name, value, strong in rows
            if value is not None
        )

    html = (
        f"<p>The exports' ground truth was kept apart from the workflow and read only now: of the {esc(k)} most "
        f"similar campaigns, this share is of the same vertical (precision@{esc(k)}), over "
        f"{plural(figure(found, 'queries') or 0, 'campaign')} and "
        f'{plural(figure(found, "verticals") or 0, "vertical")}.</p><div class="versus">{bars(found)}</div>'
    )
    if isinstance(hard := found.get("without_siblings"), Mapping):
        html += (
            f'<p class="note">Without campaigns split from the same source:</p><div class="versus">{bars(hard)}</div>'
        )
    return html


def _gates(evaluation: Evaluation) -> str:
    verdict = (
        '<span class="badge good">accepted</span> The model passed every gate.'
        if evaluation.accepted
        else f'<span class="badge bad">rejected</span> The model failed {esc(", ".join(evaluation.failed_gates))}.'
    )
    rows = "".join(_figure_row(figure, evaluation) for figure in _FIGURES if figure.name in evaluation.metrics)
    metrics = evaluation.metrics
    size = ", ".join(
        f"{number(metrics.get(name))} {word}"
        for name, word in (
            ("num_topics", "topics"),
            ("n_terms", "terms"),
            ("n_campaigns", "campaigns"),
            ("held_out_campaigns", "held-out campaigns scored"),
        )
        if metrics.get(name) is not None
    )
    return (
        f'<p>{verdict}</p><div class="card"><table class="data stack"><thead><tr><th scope="col">figure</th>'
        '<th scope="col" class="number">value</th><th scope="col">gate</th><th scope="col">what it says</th></tr>'
        f'</thead><tbody>{rows}</tbody></table></div><p class="note">{esc(size)}.</p>'
    )


def _figure_row(figure: _Figure, evaluation: Evaluation) -> str:
    bound = evaluation.gates.get(figure.gate) if figure.gate else None
    if figure.gate is None or bound is None:
        gate = '<span class="soft">none</span>'
    else:
        ok = figure.gate not in evaluation.failed_gates
        word, tone = ("passed", "good") if ok else ("failed", "bad")
        if figure.gate in evaluation.skipped_gates:
            word, tone = "too few campaigns to judge", "neutral"
        sign = "at least" if figure.gate.startswith("min") else "at most"
        gate = f'<span class="badge {tone}">{word}</span> <small>{sign} {number(bound, 2)}</small>'
    return (
        f'<tr><th scope="row">{esc(figure.title)}</th><td class="number" data-label="value">'
        f'{number(evaluation.metrics[figure.name], figure.decimals)}</td><td data-label="gate">{gate}</td>'
        f'<td>{esc(figure.meaning)}<br><span class="formula">{esc(figure.formula)}</span></td></tr>'
    )
