"""The report: nothing loaded, nothing executed from campaign names, everything said that the run knows."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.topic_model_cli.run_folders import DEFINITION, write_run
from topic_model_cli.report import render_report, write_report
from topic_model_cli.report.graph import build_graph, condition
from topic_model_cli.report.text import cluster_colour, duration
from topic_model_cli.summary import RunSummary, summary_from_folder

HOSTILE = "</script><script>window.pwned=1</script><img src=x onerror=window.pwned=2>\"'&"
TRAINING = Path(__file__).parents[2] / "pipelines" / "rendered" / "training.asl.json"


class _Page(HTMLParser):
    """Collects elements, text, scripts and what a page would load."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        elif not (self.open and self.open[-1] == "style"):
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    @property
    def map_data(self) -> dict[str, Any]:
        return json.loads(self.scripts[0])  # type: ignore[no-any-return]


@pytest.fixture
def summary(tmp_path: Path) -> RunSummary:
    return summary_from_folder(write_run(tmp_path / "run"))


def test_nothing_is_loaded(summary: RunSummary) -> None:
    """No element, style or script names anything outside the page, and the page forbids the browser to."""
    html = render_report(summary)
    page = _Page(html)
    for tag, attributes in page.elements:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), (tag, name, value)
    assert not re.search(r"@import|url\((?!#)|fetch\(|XMLHttpRequest|\bimport\(|https?://", html)
    policy = next(a["content"] for t, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_names_stay_text(tmp_path: Path) -> None:
    """A campaign's name with markup is shown as it is: no element and no script comes of it."""
    plain = _Page(render_report(summary_from_folder(write_run(tmp_path / "plain"))))
    names = dict.fromkeys(range(12), HOSTILE)
    page = _Page(render_report(summary_from_folder(write_run(tmp_path / "hostile", names=names))))
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]
    assert len(page.scripts) == 2
    assert page.map_data["names"][0] == HOSTILE
    assert "window.pwned=1" in page.text


def test_everything_else_from_outside_is_escaped(summary: RunSummary) -> None:
    """Terms, labels, keywords, reasons, causes: hostile everywhere, and still no element comes of it."""
    plain = _Page(render_report(summary))
    texts = json.dumps({"x": HOSTILE})[7:-2]

    def poison(value: Any) -> Any:
        if isinstance(value, str):
            return value + json.loads(f'"{texts}"')
        if isinstance(value, tuple):
            return tuple(poison(item) for item in value)
        if hasattr(value, "__dataclass_fields__"):
            return replace(value, **{name: poison(getattr(value, name)) for name in value.__dataclass_fields__})
        return value

    lookups = {campaign_id: poison(lookup) for campaign_id, lookup in summary.lookups.items()}
    lookups = {f"c{number}": lookup for number, lookup in enumerate(lookups.values())}
    poisoned = replace(
        summary,
        name=HOSTILE,
        topics=poison(summary.topics),
        clusters=poison(summary.clusters),
        lookups=lookups,
        endpoint=HOSTILE,
        states=tuple(replace(state, job=HOSTILE if state.job else None) for state in summary.states),
    )
    page = _Page(render_report(poisoned))
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]
    assert page.text.count("window.pwned=1") > 50


def test_the_run_is_told_in_a_sentence_with_its_figures(summary: RunSummary) -> None:
    """Campaigns, topics, time, gates with the verdict on each, and precision beside TF-IDF are in the text."""
    text = _Page(render_report(summary)).text
    assert "Read 12 campaigns of 2 channels, learned 3 topics in 11.2 s" in text
    for told in ("Topic diversity 0.250 failed at least 0.30", "too few campaigns to judge", "0.900", "0.700"):
        assert told in text
    assert re.search(r"Coherence \(c_npmi\) 0\.123 passed at least -0\.50", text)
    assert re.search(r"Coverage 1\.000 none", text)
    assert "2 lines and campaigns of google_ads left out" in text
    assert "1 campaign without a fingerprint" in text


def test_a_failed_run_says_what_failed_and_why(tmp_path: Path) -> None:
    """State, error, cause, last lines and the log's place come first; what was not made is not shown."""
    folder = write_run(tmp_path / "run", failed=True)
    told = {
        "state": "Train",
        "error": "JobFailed",
        "cause": "no such setting",
        "log_lines": ["a <b>"],
        "log_place": "g/s",
    }
    (folder / "failure.json").write_text(json.dumps(told))
    page = _Page(render_report(summary_from_folder(folder)))
    for words in ("Train failed: JobFailed", "no such setting", "a <b>", "Its log is in g/s"):
        assert words in page.text
    anchors = {attributes.get("id") for _, attributes in page.elements}
    assert "course" in anchors
    assert not {"map", "topics", "neighbours", "quality"} & anchors


def test_headings_descend_one_level_at_a_time(summary: RunSummary) -> None:
    """One h1, and no level is left out: what a screen reader goes by."""
    levels = [int(tag[1]) for tag, _ in _Page(render_report(summary)).elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


@pytest.mark.slow
def test_size_at_the_shipped_sample(tmp_path: Path) -> None:
    """2,000 campaigns of ten neighbours each stay under 3 MB, and 5,000, the most a map has, under 6 MB."""
    for campaigns, most in ((2_000, 3e6), (5_000, 6e6)):
        folder = write_run(tmp_path / str(campaigns), campaigns=campaigns, clusters=60)
        write_report(summary_from_folder(folder), folder / "report.html")
        assert (folder / "report.html").stat().st_size < most


def test_neighbours_beyond_the_map_are_named(tmp_path: Path) -> None:
    """A neighbour that is not on the map has its name behind the map's campaigns, and no position."""
    folder = write_run(tmp_path / "run", campaigns=20)
    plan = json.loads((folder / "lookups" / "map.json").read_text())
    (folder / "lookups" / "map.json").write_text(json.dumps({name: column[:5] for name, column in plan.items()}))
    data = _Page(render_report(summary_from_folder(folder))).map_data
    assert len(data["x"]) == 5
    pointed = {entry[0] for near in data["similar"] for entry in near}
    assert max(pointed) == len(data["names"]) - 1
    assert data["names"][data["similar"][4][0][0]] == "Campaign 5"


def test_a_report_is_written_whole_or_not_at_all(summary: RunSummary, tmp_path: Path) -> None:
    """Where the target cannot be replaced, nothing is left beside it."""
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OSError, match=r"report\.html"):
        write_report(summary, tmp_path / "report.html")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "run"]


def test_drawing_leaves_out_what_only_carries(summary: RunSummary) -> None:
    """Pass states are joined through; ways to the failure's teller are drawn only where taken."""
    many = {**DEFINITION["States"], "Look": {**DEFINITION["States"]["Look"]}}
    graph = build_graph({**DEFINITION, "States": many}, summary.states)
    assert "Settings" not in graph.nodes
    assert "Told" not in graph.nodes
    assert ("Prepare", "Tune?") in {(edge.source, edge.target) for edge in graph.edges}
    assert ("Train", "NotifyFailure") not in {(edge.source, edge.target) for edge in graph.edges}


def test_ways_taken_are_those_of_the_run(summary: RunSummary, tmp_path: Path) -> None:
    """The straight run goes past Tune and round its loop; the failed one goes from Train to the failure's teller."""
    taken = build_graph(summary.definition, summary.states).taken
    assert {("Tune?", "Train"), ("Look", "Ready?"), ("Ready?", "Wait"), ("Wait", "Look"), ("Ready?", "Done")} <= taken
    assert not {("Tune?", "Tune"), ("Tune", "Train")} & taken
    failed = summary_from_folder(write_run(tmp_path / "failed", failed=True))
    assert {("Train", "NotifyFailure"), ("NotifyFailure", "Failed")} <= build_graph(
        failed.definition, failed.states
    ).taken


def test_states_never_lie_on_each_other() -> None:
    """In the real definition every shown state has a cell of its own, and every edge joins shown states."""
    graph = build_graph(json.loads(TRAINING.read_text()), [])
    cells = [(node.layer, node.column) for node in graph.nodes.values()]
    assert len(cells) == len(set(cells)) >= 20
    assert all(edge.source in graph.nodes and edge.target in graph.nodes for edge in graph.edges)
    assert {"Prepare", "Train", "Accept?", "SmokeTest", "NotifyFailure"} <= graph.nodes.keys()


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"Variable": "$.plan.deploy", "BooleanEquals": True}, "deploy is true"),
        ({"Variable": "$.looks", "NumericGreaterThan": 90}, "looks > 90"),
        ({"And": [{"Variable": "$.a", "IsPresent": True}]}, ""),
    ],
)
def test_conditions_in_a_few_words(choice: dict[str, Any], words: str) -> None:
    """A simple rule is told in a few words; a compound one is not told wrongly."""
    assert condition(choice) == words


def test_durations_read_well() -> None:
    """Seconds, minutes, hours; a dash where there is none."""
    assert [duration(value) for value in (0.04, 61.25, 605, 7_260, None)] == [
        "0.0 s",
        "61.2 s",
        "10 min 5 s",
        "2 h 1 min",
        "–",
    ]


def test_clusters_next_to_each_other_differ_in_colour() -> None:
    """The sixty colours that a map may need are distinct."""
    assert len({cluster_colour(cluster) for cluster in range(60)}) == 60


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_in_a_browser(tmp_path: Path, width: int, scheme: str) -> None:
    """Opened from disk without a network: no request, no error, no sideways scrolling, and the map answers."""
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium: apt-get install chromium")
    folder = write_run(tmp_path / "run", campaigns=60, clusters=6, names={7: HOSTILE})
    write_report(summary_from_folder(folder), folder / "report.html")
    said: list[str] = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: said.append(request.url))
        page.goto((folder / "report.html").as_uri())
        page.get_by_label("Find a campaign by name or id").fill("pwned")
        page.locator("#matches button").click()
        assert page.locator("#chosen h3").inner_text() == HOSTILE
        page.locator("#chosen li button").first.click()
        assert page.locator("#chosen h3").inner_text() == "Campaign 8"
        page.locator("#stage").focus()
        page.keyboard.press("+")
        page.keyboard.press("Escape")
        assert page.locator("#chosen").inner_text() == "No campaign is selected."
        page.keyboard.press("0")
        height = page.locator("#stage").evaluate("canvas => canvas.clientHeight")
        # Campaign 0 stands at x = 0, y = 0: the lower left corner, 24 pixels in.
        page.locator("#stage").click(position={"x": 24, "y": height - 24})
        assert page.locator("#chosen h3").inner_text() == "Campaign 0"
        page.locator("#legend button").first.click()
        assert page.locator("#legend button[aria-pressed=true]").count() == 1
        assert page.evaluate("window.pwned") is None
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        browser.close()
    assert said == [(folder / "report.html").as_uri()]


def test_caps_that_were_met_are_in_the_input(tmp_path: Path) -> None:
    """Texts and campaigns over a cap stand in the input's table, and only where there are some."""
    folder = write_run(tmp_path / "run")
    quality = folder / "prepared" / "google_ads" / "quality.json"
    assert "texts over cap" not in render_report(summary_from_folder(folder))
    counts = {"texts_over_cap": 4321, "campaigns_over_cap": 17, "texts_cut": 0}
    quality.write_text(json.dumps(json.loads(quality.read_text()) | counts))
    page = _Page(render_report(summary_from_folder(folder))).text
    for told in ("texts over cap", "campaigns over cap", "4,321", "17"):
        assert told in page
    assert "texts cut" not in page


def test_a_handled_error_does_not_look_like_a_failure(summary: RunSummary) -> None:
    """Legend, timeline and colours call it handled, by one word."""
    states = tuple(
        replace(state, outcome="handled", error="Lookup.Missing") if state.name == "Train" else state
        for state in summary.states
    )
    html = render_report(replace(summary, states=states))
    page = _Page(html).text
    assert "handled: an error that the definition has a path for" in page
    assert "handled Lookup.Missing" in page
    assert '<span class="handled"' in html
    assert ".track span.handled {" in html
    assert ".state.handled rect" in html
