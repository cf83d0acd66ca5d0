"""The report's sections on the run itself: its course, its input, its settings. All text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from topic_model_cli.report.svg import draw
from topic_model_cli.report.text import duration, esc, moment, number, plural
from topic_model_cli.summary import ChannelQuality, RunSummary, StateTiming

_STATUS_WORDS = {
    "SUCCEEDED": ("succeeded", "good"),
    "FAILED": ("failed", "bad"),
    "TIMED_OUT": ("timed out", "bad"),
    "ABORTED": ("stopped", "bad"),
    "RUNNING": ("running", "neutral"),
}


_CHANNEL_COUNTS = (
    ("files", "files"),
    ("lines", "lines"),
    ("rejected_lines", "left out"),
    ("campaigns", "campaigns"),
    ("campaigns_without_terms", "without terms"),
    ("keywords", "keywords"),
    ("tokens", "tokens"),
    ("distinct_terms", "distinct terms"),
)
_CAP_COUNTS = (
    ("texts_over_cap", "texts over cap"),
    ("campaigns_over_cap", "campaigns over cap"),
    ("texts_cut", "texts cut"),
)


def header(summary: RunSummary) -> str:
    """The run in one sentence, its facts, its failure where it failed, and the contents."""
    word, tone = _STATUS_WORDS.get(summary.status, (summary.status.lower(), "neutral"))
    campaigns = sum(channel.counts.get("campaigns", 0) for channel in summary.channels)
    facts = [
        ("started", moment(summary.started)),
        ("took", duration(summary.seconds)),
        ("campaigns", number(campaigns) if campaigns else "–"),
        ("topics", number(len(summary.topics)) if summary.topics else "–"),
        ("clusters", number(len(summary.clusters)) if summary.clusters else "–"),
        ("model", summary.model_version or "–"),
        ("endpoint", summary.endpoint or "–"),
    ]
    links = [
        ("course", "Course", True),
        ("quality", "Quality", summary.evaluation is not None or summary.retrieval is not None),
        ("map", "Map", bool(summary.map.campaign_ids)),
        ("neighbours", "Similar campaigns", bool(summary.lookups)),
        ("topics", "Topics", bool(summary.topics)),
        ("input", "Input", bool(summary.channels)),
        ("settings", "Settings", bool(summary.settings)),
    ]
    return (
        f'<header><h1>Run {esc(summary.name)} <span class="badge {tone}">{esc(word)}</span></h1>'
        f"<p>{esc(sentence(summary))}</p>{_failure(summary)}"
        + '<dl class="facts">'
        + "".join(f"<div><dt>{esc(name)}</dt><dd>{esc(value)}</dd></div>" for name, value in facts)
        + '</dl><nav aria-label="Contents"><ul>'
        + "".join(f'<li><a href="#{anchor}">{title}</a></li>' for anchor, title, there in links if there)
        + "</ul></nav></header>"
    )


def sentence(summary: RunSummary) -> str:
    """What the run did, in one sentence."""
    campaigns = sum(channel.counts.get("campaigns", 0) for channel in summary.channels)
    read = (
        f"{plural(campaigns, 'campaign')} of {plural(len(summary.channels), 'channel')}" if campaigns else "the exports"
    )
    if summary.succeeded:
        end = f", and serves it as {summary.endpoint}" if summary.endpoint else ""
        return (
            f"Read {read}, learned {plural(len(summary.topics), 'topic')} in {duration(summary.seconds)}, and found "
            f"similar campaigns and recommended keywords for {number(summary.num_lookups)} of them{end}."
        )
    if summary.failure is None:
        return f"The run has not ended: {plural(len(summary.states), 'state')} so far."
    where = f"in {summary.failure.state}" if summary.failure.state else "before a state failed"
    return f"The run ended {where} after {duration(summary.seconds)}; what it had made until then is below."


def _failure(summary: RunSummary) -> str:
    failure = summary.failure
    if failure is None:
        return ""
    log = "".join(f"{esc(line)}\n" for line in failure.log_lines)
    return (
        '<section class="failure" aria-label="Failure">'
        f"<h2>{esc(failure.state or 'The run')} failed: {esc(failure.error)}</h2>"
        + (f"<p>{esc(failure.cause)}</p>" if failure.cause else "")
        + (f"<p>The job's last lines:</p><pre>{log}</pre>" if log else "")
        + (f"<p>Its log is in <code>{esc(failure.log_place)}</code>.</p>" if failure.log_place else "")
        + "</section>"
    )


def course(summary: RunSummary) -> str:
    """The state machine drawn, and the states in time."""
    key = (
        '<ul class="key"><li><i style="background:var(--good-fill);border-color:var(--good)"></i>succeeded</li>'
        '<li><i style="background:var(--bad-fill);border-color:var(--bad)"></i>failed</li>'
        '<li><i style="background:var(--faint);border-color:var(--soft)"></i>handled: an error that the definition has '
        "a path for</li>"
        '<li><i style="border-color:var(--line);border-style:dashed"></i>not reached</li></ul>'
    )
    return (
        '<section id="course"><h2>Course of the run</h2>'
        "<p>The workflow as it is defined, with what this run did in it. Dark arrows were taken. Any state that fails "
        "leads to the one that tells of it; that arrow is drawn only where it was taken, and states that only carry "
        "values along are left out.</p>"
        f'<div class="course"><div class="card"><h3>State machine</h3><div class="scroll" tabindex="0" '
        f'role="region" aria-label="State machine, scrollable">{draw(summary)}</div>{key}</div>'
        f'<div class="card"><h3>Timeline</h3>{_timeline(summary)}</div></div></section>'
    )


def _timeline(summary: RunSummary) -> str:
    working = [state for state in summary.states if not state.steers and state.kind not in ("Map", "Parallel", "Fail")]
    total = max((state.offset + state.seconds for state in working), default=0.0) or 1.0
    rows = "".join(_timeline_row(state, total) for state in working)
    return (
        '<table class="timeline"><thead><tr><th scope="col">state</th><th scope="col">when</th>'
        '<th scope="col" class="time">took</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
        f'<p class="note">The bars span {duration(total)} from start to end.</p>'
    )


def _timeline_row(state: StateTiming, total: float) -> str:
    about = []
    if state.job:
        about.append(state.job)
    if state.attempts > 1 and state.visits == 1:
        about.append(plural(state.attempts, "attempt"))
    if state.visits > 1:
        about.append(f"{state.visits} looks")
    if state.error:
        about.append(f"handled {state.error}" if state.outcome == "handled" else state.error)
    note = f"<small>{esc(', '.join(about))}</small>" if about else ""
    left, width = 100 * state.offset / total, 100 * state.seconds / total
    return (
        f'<tr><th scope="row">{esc(state.label)}{note}</th><td><div class="track" role="img" aria-label="'
        f'{esc(state.outcome)}, begins at {state.offset:.1f} s"><span class="{esc(state.outcome)}" '
        f'style="left:{left:.2f}%;width:{width:.2f}%"></span></div></td>'
        f'<td class="time">{duration(state.seconds)}</td></tr>'
    )


def inputs(summary: RunSummary) -> str:
    """What was read of each channel, and what was left out and why."""
    if not summary.channels:
        return ""
    columns = [(name, title) for name, title in _CHANNEL_COUNTS if any(name in c.counts for c in summary.channels)]
    # Caps are rarely met, and the table is wide: these columns are there where they say something.
    columns += [(name, title) for name, title in _CAP_COUNTS if any(c.counts.get(name) for c in summary.channels)]
    head = "".join(f'<th scope="col" class="number">{title}</th>' for _, title in columns)
    rows = "".join(
        f'<tr><th scope="row">{esc(channel.channel)}</th>'
        + "".join(
            f'<td class="number" data-label="{title}">{number(channel.counts.get(name))}</td>'
            for name, title in columns
        )
        + "</tr>"
        for channel in summary.channels
    )
    unscored = ""
    if summary.num_unscored:
        items = "".join(
            f"<li><code>{esc(entry.get('campaign_id'))}</code> {esc(entry.get('reason'))}</li>"
            for entry in summary.unscored
        )
        unscored = (
            f"<details><summary>{plural(summary.num_unscored, 'campaign')} without a fingerprint</summary>"
            f"<ul>{items}</ul></details>"
        )
    return (
        '<section id="input"><h2>Input</h2><div class="card scroll"><table class="data stack"><thead><tr>'
        f'<th scope="col">channel</th>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
        f"{''.join(map(_rejected, summary.channels))}{unscored}</section>"
    )


def _rejected(channel: ChannelQuality) -> str:
    left_out = sum(channel.reasons.values())
    if not left_out:
        return f'<p class="note">No line or campaign of {esc(channel.channel)} was left out.</p>'
    reasons = "".join(
        f'<tr><td class="number">{number(count)}</td><td>{esc(reason)}</td></tr>'
        for reason, count in channel.reasons.items()
    )
    first = "".join(
        f"<li><code>{esc(line.get('file'))}"
        + (f":{esc(line['line'])}" if line.get("line") is not None else "")
        + f"</code> {esc(line.get('reason'))}</li>"
        for line in channel.rejected
    )
    return (
        f"<details><summary>{plural(left_out, 'line or campaign', 'lines and campaigns')} of {esc(channel.channel)} "
        f'left out</summary><table class="data"><tbody>{reasons}</tbody></table><p class="note">The first of them:</p>'
        f'<ul class="note">{first}</ul></details>'
    )


def settings(summary: RunSummary) -> str:
    """The settings used, a group each."""
    if not summary.settings:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{esc(name)}</th><td><code>{esc(value)}</code></td></tr>'
        for name, value in _flat(summary.settings)
    )
    return (
        '<section id="settings"><h2>Settings</h2><details><summary>The settings of this run</summary>'
        f'<div class="card scroll"><table class="data"><tbody>{rows}</tbody></table></div></details></section>'
    )


def _flat(values: Mapping[str, object], prefix: str = "") -> Iterable[tuple[str, object]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
