"""The analysts' page in Chromium, over the real application, the published lookups and the model that serves."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from lookup_api.app import create_app
from tests.local_aws.conftest import free_port
from tests.lookup_api.conftest import ADMIN, FEEDBACK, HTML, KEYS, SETTINGS, SLASHED, Server

pytestmark = pytest.mark.browser
CHECKS = (Path(__file__).parent / "page_checks.js").read_text()
VIEWS = (
    {"search": ""},
    {"search": "espresso"},
    {"search": "qwertz"},
    {"campaign": "coffee-0001"},
    {"campaign": "html"},
    {"campaign": "nobody"},
    {"fresh": ""},
    {"keywords": "espresso grinder\nlatte\nqwertz"},
    {"keywords": "qwertz"},
    {"map": ""},
    {"map": "", "cluster": "1"},
)

STOP = """(() => {
  const node = document.activeElement, style = getComputedStyle(node);
  const seen = style.outlineStyle !== "none" && Number.parseFloat(style.outlineWidth) >= 2;
  return [node.textContent.trim() || node.id, seen];
})()"""
SPINNER = """(() => {
  const spinner = document.createElement("span");
  spinner.className = "spinner";
  document.getElementById("main").append(spinner);
  return getComputedStyle(spinner).animationName;
})()"""

PLOT = "document.querySelector('canvas.plot').toDataURL()"
FINGERS = """(acts) => {
  const canvas = document.querySelector("canvas.rings"), box = canvas.getBoundingClientRect();
  canvas.setPointerCapture = () => {}; // there is no real finger to capture
  for (const [name, pointerId, share, down = 0.5] of acts) {
    const place = { clientX: box.x + box.width * share, clientY: box.y + box.height * down };
    const more = { pointerId, pointerType: "touch", bubbles: true, ...place };
    canvas.dispatchEvent(new PointerEvent(`pointer${name}`, more));
  }
}"""
DISC = """async ([x, y, radius]) => {
  const { Discs, pixel } = await import(new URL("page/map_drawing.js", document.baseURI));
  const canvas = Object.assign(document.createElement("canvas"), { width: 40, height: 40 });
  const discs = new Discs(canvas);
  discs.begin(40, 40, radius, pixel([0, 0, 0]));
  discs.add(x, y, pixel([255, 255, 255]));
  discs.end();
  const { data } = canvas.getContext("2d").getImageData(0, 0, 40, 40);
  let area = 0, right = 0;
  for (let at = 0; at < 1600; at++) {
    area += data[4 * at] / 255;
    if (at % 40 > 20) right += data[4 * at];
  }
  return { area, right };
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield launched
        launched.close()


class Page:
    """A tab with the page, which has a key unless told; what it complains of is collected."""

    def __init__(
        self,
        browser: Any,
        url: str,
        *,
        key: str | None = ADMIN,
        by: str = "ana",
        width: int = 1280,
        scheme: str = "light",
    ) -> None:
        self.url, self.said = url, list[str]()
        self.context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        self.tab = self.context.new_page()
        self.tab.set_default_timeout(20_000)
        self.tab.on("pageerror", lambda error: self.said.append(str(error)))
        self.tab.on("console", lambda message: self.said.append(message.text))
        self.tab.on("request", lambda request: request.url.startswith(url) or self.said.append(request.url))
        if key is not None:
            kept = json.dumps({"key": key, "by": by})
            set_once = "sessionStorage.getItem(name) ?? sessionStorage.setItem(name, value)"
            script = (
                f"if (location.protocol === 'http:') for (const [name, value] of Object.entries({kept})) {set_once}"
            )
            self.context.add_init_script(script)

    def open(self, **parameters: str) -> Page:
        """Go to an address as who types it does, and wait until nothing loads."""
        self.tab.goto("about:blank")
        self.tab.goto(f"{self.url}/page" + (f"#{urlencode(parameters)}" if parameters else ""))
        return self.settled()

    def settled(self) -> Page:
        """Wait until something is shown and nothing loads."""
        return self.until("document.querySelector('main').firstChild && !document.querySelector('.loading')")

    def until(self, expression: str) -> Page:
        """Wait for an expression; asked from outside, because the page's policy lets nobody evaluate strings in it."""
        deadline = time.monotonic() + 20
        while not self.tab.evaluate(expression):
            assert time.monotonic() < deadline, expression
            time.sleep(0.02)
        return self

    @property
    def heading(self) -> str:
        return str(self.tab.locator("main h2").last.inner_text())

    def faults(self) -> list[str]:
        found: list[str] = self.tab.evaluate(CHECKS)
        return found

    def save(self, button: str) -> str:
        """The text of the file that a button saves."""
        with self.tab.expect_download() as waiting:
            self.tab.get_by_role("button", name=button).click()
        return Path(waiting.value.path()).read_bytes().decode("utf-8")

    def answer(self, pattern: str, *responses: dict[str, Any]) -> None:
        """Answer the next requests of a pattern so; the ones after them reach the API."""
        left = list(responses)

        def act(route: Any) -> None:
            if not left:
                route.continue_()
            elif (one := left.pop(0)) == {"abort": True}:
                route.abort("internetdisconnected")
            else:
                route.fulfill(**one)

        self.tab.route(re.compile(pattern), act)


@pytest.fixture
def page(browser: Any, api: Server) -> Iterator[Callable[..., Page]]:
    opened: list[Page] = []

    def make(**options: Any) -> Page:
        opened.append(Page(browser, options.pop("url", api.url), **options))
        return opened[-1]

    yield make
    for one in opened:
        one.context.close()


def problem(status: int, code: str, detail: str, **headers: str) -> dict[str, Any]:
    """A response with a problem document."""
    body = {"type": f"urn:topic-model:problem:{code}", "status": status, "detail": detail, "request_id": "request-1"}
    return {"status": status, "content_type": "application/problem+json", "headers": headers, "body": json.dumps(body)}


def test_an_analyst_finds_a_campaign_by_keyboard_alone(page: Callable[..., Page], api: Server) -> None:
    """The key, the pages of all campaigns, the search with its suggestions, the campaign and why others are like it."""
    one = page(key=None)
    one.open()
    tab = one.tab
    assert tab.evaluate("document.activeElement.id") == "key"
    tab.keyboard.type(ADMIN)
    tab.keyboard.press("Enter")
    one.settled()
    assert one.heading == "All campaigns"
    assert tab.locator(".results li").count() == 20
    tab.get_by_role("link", name="Next").click()
    tab.wait_for_selector("text=Page 2 of 5")

    box = tab.get_by_role("combobox", name="Find a campaign")
    box.focus()
    tab.keyboard.type("coffee 1")
    tab.wait_for_selector("[role=option]")
    assert box.get_attribute("aria-expanded") == "true"
    assert one.faults() == []
    tab.keyboard.press("ArrowDown")
    chosen = tab.locator(f"#{box.get_attribute('aria-activedescendant')}")
    assert chosen.get_attribute("aria-selected") == "true"
    assert "Coffee 1" in chosen.inner_text()
    tab.keyboard.press("Enter")
    tab.wait_for_selector("h3:has-text('Recommended keywords')")
    one.settled()
    name = tab.locator("main h2").inner_text()
    assert name.startswith("Coffee 1")
    assert tab.evaluate("document.activeElement.tagName") == "H2" or box.evaluate(
        "node => node === document.activeElement"
    )

    row = next(row for row in api.rows().values() if row["name"] == name)
    assert tab.locator(".bars li").count() >= len(row["topics"])
    first = tab.locator(".neighbours > li").first
    assert row["similar"][0]["name"] in first.inner_text()
    first.locator("summary").click()
    parts = [float(text) for text in first.locator(".parts .share").all_inner_texts()]
    assert sum(parts) == pytest.approx(row["similar"][0]["similarity"], abs=0.0005 * (len(parts) + 8))

    assert one.said == []


def test_verdicts_are_stored_and_taken_back_and_keywords_taken_along(page: Callable[..., Page], api: Server) -> None:
    """With who gave them; another verdict replaces the first; the file is in the layout of Google Ads Editor."""
    one = page(by="")
    one.open(campaign="coffee-0001")
    tab, row = one.tab, api.rows()["coffee-0001"]
    name, first = one.heading, tab.locator(".neighbours > li").first
    accept = tab.locator("tbody tr").nth(0).get_by_role("button", name="Accept")
    accept.click()
    assert "enter your name" in tab.locator("#by-fault").inner_text()
    tab.keyboard.type("Ana <b>")
    tab.keyboard.press("Enter")
    accept.click()
    tab.wait_for_selector("tr.accepted")
    second = tab.locator("tbody tr").nth(1)
    second.get_by_role("button", name="Accept").click()
    one.until("document.querySelectorAll('tr.accepted').length === 2")
    second.get_by_role("button", name="Reject").click()
    tab.wait_for_selector("tr.rejected")
    assert second.get_by_role("button", name="Accept").get_attribute("aria-pressed") == "false"
    first.get_by_role("button", name="Not similar").click()
    tab.wait_for_selector(".neighbours .rejected[aria-pressed=true]")
    keywords = [entry["keyword"] for entry in row["recommendations"]]
    items = api.config.client("dynamodb").scan(TableName=FEEDBACK)["Items"]
    verdicts = {item["item"]["S"]: item["verdict"]["S"] for item in items if item["by"]["S"] == "Ana <b>"}
    assert verdicts == {keywords[0]: "accepted", keywords[1]: "rejected", row["similar"][0]["campaign_id"]: "rejected"}

    head = ["Campaign", "Ad group", "Keyword", "Criterion Type"]
    told = one.save("Download 1 accepted")
    assert told.startswith("\ufeff") and told.endswith("\r\n")
    rows = list(csv.reader(io.StringIO(told.removeprefix("\ufeff"))))
    assert rows == [head, [name, "Recommended keywords", keywords[0], "Phrase"]]
    tab.get_by_label("Match type").select_option("Exact")
    rows = list(csv.reader(io.StringIO(one.save(f"Download all {len(keywords)}").removeprefix("\ufeff"))))
    assert rows[1:] == [[name, "Recommended keywords", keyword, "Exact"] for keyword in keywords]
    tab.reload()
    one.settled()
    assert tab.locator("tr.accepted").count() == 1  # this tab remembers
    assert one.said == []


def test_an_answer_that_may_not_be_judged_any_more_is_asked_for_again(page: Callable[..., Page]) -> None:
    """The page says why, and one press asks the same again: then the verdict is kept."""
    seen = page().open(campaign="coffee-0001")
    detail = "the answer is more than 7 days old; ask again, and judge the new answer"
    seen.answer("/v1/feedback", problem(422, "expired-answer", detail))
    first = seen.tab.get_by_role("button", name=re.compile("^Accept: ")).first
    first.click()
    seen.tab.get_by_text("more than 7 days old").wait_for()
    assert first.get_attribute("aria-pressed") == "false"
    seen.tab.get_by_role("button", name="Ask again").click()
    seen.settled()
    first.click()
    seen.until("document.querySelector('.verdict.accepted[aria-pressed=true]')")


def test_an_answer_without_an_id_is_asked_for_again(page: Callable[..., Page], api: Server) -> None:
    """It cannot be judged: one press asks the same again, and the new answer can."""
    path = "/v1/campaigns/coffee-0001/recommendations"
    given = api.request("GET", path, params={"k": 100}).json()
    seen = page()
    body = json.dumps({**given, "answer_id": None})
    seen.answer(path, {"status": 200, "content_type": "application/json", "body": body})
    seen.open(campaign="coffee-0001")
    first = seen.tab.locator("button.verdict.accepted[aria-label^='Accept: ']").first
    first.click()
    seen.tab.get_by_text("The API takes no verdicts on this answer").wait_for()
    seen.tab.get_by_role("button", name="Ask again").click()
    seen.settled()
    first.click()
    seen.until("document.querySelector('.verdict.accepted[aria-pressed=true]')")


def test_names_with_markup_are_text(page: Callable[..., Page]) -> None:
    """In lists, headings, suggestions and on the map; and a cell that would be a formula is text in the file."""
    one = page()
    one.open(campaign=HTML.campaign_id)
    assert one.heading == HTML.name
    tab = one.tab
    assert tab.evaluate("document.scripts.length") == 1
    tab.locator("#query").fill("script")
    tab.wait_for_selector("[role=option]")
    assert HTML.name in tab.locator("[role=option]").first.inner_text()
    one.open(search="script")
    assert tab.locator(".results a").first.inner_text() == HTML.name
    one.open(keywords="<img src=x onerror=alert(1)> espresso", name="<b>bold</b>")
    assert one.heading == "<b>bold</b>"
    assert tab.locator("main img").count() == 0
    one.open(campaign=SLASHED.campaign_id)
    assert one.heading == SLASHED.name
    told = one.save("Download all")
    assert all(line.startswith("'=HYPERLINK(1),") for line in told.splitlines()[1:])
    assert "apostrophe" in tab.locator(".download .note").inner_text()
    assert one.said == []


def test_cells_are_harmless_and_quoted(page: Callable[..., Page]) -> None:
    """What a spreadsheet takes for a formula gets an apostrophe; RFC 4180's quotes stand where they must alone."""
    one = page()
    one.open()
    texts = ["a b", "=1", "+1", "-1", "@x", "\t=1", "  =1", "＝1", 'say "hi"', "a,b", "a\nb", " a", "1-2", ""]
    harmless = ["a b", "'=1", "'+1", "'-1", "'@x", "'\t=1", "'  =1", "'＝1"]
    quoted = ['"say ""hi"""', '"a,b"', '"a\nb"', '" a"', "1-2", ""]
    # Spreadsheets that part cells at semicolons heed no quotes there.
    texts += ["a;=1", "a; +1", 'a;"=1', "=1;=2", "a; b", "a;b-1"]
    parted = ["a;'=1", "a;' +1", '"a;\'""=1"', "'=1;'=2", "a; b", "a;b-1"]
    cells = "async (texts) => texts.map((await import(new URL('page/csv.js', document.baseURI))).cell)"
    made = one.tab.evaluate(cells, texts)
    assert made == harmless + quoted + parted


def test_every_view_has_an_address_and_back_works(page: Callable[..., Page]) -> None:
    """A link opens what it was copied from; going back shows what was there, where it was."""
    one = page()
    one.open(search="coffee")
    tab = one.tab
    tab.evaluate("scrollTo(0, 300)")
    one.until("history.state?.top > 0")
    tab.locator(".results a").nth(7).click()
    tab.wait_for_selector("text=Recommended keywords")
    one.settled()
    copied = tab.url
    assert tab.evaluate("document.activeElement.tagName") == "H2"
    assert tab.title().startswith("Coffee")
    tab.go_back()
    tab.wait_for_selector("h2:has-text('Campaigns found by')")
    one.settled()
    assert tab.evaluate("scrollY") == pytest.approx(300, abs=60)
    assert tab.locator("#query").input_value() == "coffee"
    other = page()
    other.tab.goto(copied)
    other.settled()
    assert other.heading.startswith("Coffee")


def test_fresh_keywords_are_answered_by_the_model(page: Callable[..., Page]) -> None:
    """Few keywords stand in the address; many do not, and are there again after going away and back."""
    one = page()
    one.open(fresh="")
    tab = one.tab
    tab.get_by_role("button", name="Find similar campaigns").click()
    assert tab.locator(".ask .fault").inner_text() == "Paste at least one keyword."
    area = tab.get_by_label("Keywords or search terms")
    area.fill("espresso grinder\n\n latte \nlatte\nqwertz")
    assert tab.locator(".ask").get_by_text("3 keywords").count() == 1
    tab.get_by_role("button", name="Find similar campaigns").click()
    tab.wait_for_selector("#answer h2")
    assert "Coffee" in tab.locator(".neighbours").inner_text()
    assert tab.locator(".shared:has-text('does not know') li").all_inner_texts() == ["qwertz"]
    assert "espresso+grinder" in tab.url
    many = "\n".join(f"espresso filter {number}" for number in range(400))
    tab.get_by_label("Keywords or search terms").fill(many)
    tab.get_by_role("button", name="Find similar campaigns").click()
    tab.wait_for_url("**#fresh=answer")
    tab.wait_for_selector("#answer h2")
    one.settled()
    tab.get_by_role("link", name="Map", exact=True).click()
    tab.wait_for_selector("canvas")
    tab.go_back()
    tab.wait_for_selector("#answer h2")
    assert tab.get_by_label("Keywords or search terms").input_value() == many
    other = page()
    other.open(fresh="answer")
    assert "Paste them again" in other.tab.locator("#answer").inner_text()
    other.tab.get_by_label("Keywords or search terms").fill("\n".join(f"a{number}" for number in range(1_001)))
    other.tab.get_by_role("button", name="Find similar campaigns").click()
    assert "1,001 keywords; at most 1,000" in other.tab.locator(".ask .fault").inner_text()
    assert one.said == other.said == []


def test_low_confidence_is_said_plainly(page: Callable[..., Page]) -> None:
    """An answer that the model is not sure of says so above everything else, with why."""
    one = page()
    one.open(keywords="espresso aaaa bbbb cccc dddd eeee ffff gggg")
    notice = one.tab.locator(".notice.warn")
    assert "Low confidence" in notice.inner_text()
    assert re.search(r"knows 1[23]% of this campaign’s words", notice.inner_text())


def test_a_known_campaigns_keywords_can_be_changed_and_asked_again(page: Callable[..., Page], api: Server) -> None:
    """They are put into the form of a fresh campaign."""
    one = page()
    one.open(fresh="", of="coffee-0001")
    text = one.tab.get_by_label("Keywords or search terms").input_value()
    assert text.split("\n") == api.rows()["coffee-0001"]["keywords"]


def test_what_fails_is_told_with_what_to_do(page: Callable[..., Page]) -> None:
    """Unknown campaign, unknown terms, a busy API that is asked again by itself, no network, a defect, an old key."""
    one = page()
    tab = one.tab
    one.open(campaign="nobody")
    assert "there is no campaign 'nobody'" in tab.locator(".notice").inner_text().lower()
    one.open(keywords="qwertz\nyxcv")
    assert tab.locator(".notice .chips li").all_inner_texts() == ["qwertz", "yxcv"]

    busy = problem(503, "unavailable", "the lookup table does not answer; try again", **{"Retry-After": "1"})
    one.answer(r"/v1/campaigns\?", busy)
    tab.goto("about:blank")
    tab.goto(f"{one.url}/page#search=a")
    tab.wait_for_selector("text=Trying again in")
    one.settled()
    tab.wait_for_selector("h2:has-text('Campaigns found by')")

    quota = problem(429, "quota-exceeded", "the API key's quota is used up")
    throttled = problem(429, "too-many-requests", "the API key's rate is exceeded; try again")
    for response, words in (
        ({"abort": True}, "cannot be reached"),
        ({"status": 500, "body": "<h1>oops</h1>", "content_type": "text/html"}, "failed (status 500)"),
        (throttled, "Too many requests"),
        (quota, "quota is used up"),
        ({"status": 200, "body": "<html>", "content_type": "text/html"}, "failed (status 200)"),
    ):
        tab.unroute_all()
        one.answer(r"/v1/campaigns\?", response)
        tab.goto("about:blank")
        tab.goto(f"{one.url}/page#search=a")
        tab.wait_for_selector(".notice")
        assert words in tab.locator(".notice").inner_text()
        if words != "quota is used up":
            tab.get_by_role("button", name="Try again").click()
            tab.wait_for_selector("h2:has-text('Campaigns found by')")

    tab.unroute_all()
    one.open(campaign="coffee-0006")
    one.answer("/v1/feedback", problem(503, "unavailable", "the table does not answer; try again"))
    tab.locator("tbody tr").first.get_by_role("button", name="Accept").click()
    tab.wait_for_selector("tbody .fault:not([hidden])")
    assert tab.locator("tr.accepted").count() == 0
    tab.locator("tbody tr").first.get_by_role("button", name="Accept").click()
    tab.wait_for_selector("tr.accepted")

    other = page(key="a-key-that-ended")
    other.open()
    assert "knows no such key" in other.tab.locator("#key-fault").inner_text()
    assert other.tab.evaluate("document.activeElement.id") == "key"
    other.tab.keyboard.press("Control+a")
    other.tab.keyboard.type(KEYS["client-0"])
    other.tab.keyboard.press("Enter")
    other.tab.wait_for_selector("h2:has-text('All campaigns')")


def test_offline_is_told_and_ends_by_itself(page: Callable[..., Page]) -> None:
    """When the connection is back the page goes on without a click."""
    one = page()
    one.open()
    one.context.set_offline(True)
    one.tab.evaluate("location.hash = 'search=coffee'")
    one.tab.wait_for_selector("text=This device is offline")
    one.context.set_offline(False)
    one.tab.wait_for_selector("h2:has-text('Campaigns found by')")


def test_the_map_opens_campaigns_by_mouse_and_by_keys(page: Callable[..., Page], api: Server) -> None:
    """What a click, Enter in the middle or the list opens; a client's key shows the client's campaigns alone."""
    one = page()
    one.open(map="")
    tab = one.tab
    canvas = tab.get_by_role("application")
    canvas.wait_for()
    tab.wait_for_selector("[data-milliseconds]")
    sizes = [int(text) for text in tab.locator(".legend .count").all_inner_texts()]
    assert sum(sizes) == len(api.rows()) and sizes == sorted(sizes, reverse=True)
    canvas.focus()
    for _ in range(3):
        tab.keyboard.press("+")
    tab.keyboard.press("0")
    tab.keyboard.press("ArrowUp")
    one.until("document.getElementById('status').textContent.includes(', ')")
    named = tab.locator("#status").inner_text()
    tab.keyboard.press("Enter")
    tab.wait_for_selector("text=Recommended keywords")
    assert named.startswith(tab.locator("main h2").inner_text())
    tab.get_by_role("link", name="Show on the map").click()
    tab.wait_for_selector("text=has a ring around it")
    one.open(map="", cluster="0")
    members = tab.locator(".members a").all_inner_texts()
    assert len(members) == int(tab.locator("[aria-pressed=true] .count").inner_text())
    tab.locator(".members a").first.click()
    tab.wait_for_selector("text=Recommended keywords")
    assert tab.locator("main h2").inner_text() == members[0]
    mine = page(key=KEYS["client-0"])
    mine.open(map="")
    mine.tab.wait_for_selector(".legend")
    own = sum(row["client_id"] == "client-0" for row in api.rows().values())
    assert sum(int(text) for text in mine.tab.locator(".legend .count").all_inner_texts()) == own
    assert one.said == mine.said == []


def alone(answer: dict[str, Any], box: dict[str, float]) -> tuple[int, float, float]:
    """The campaign that stands most alone on the map, and where in its box that is."""
    points = list(zip(answer["x"], answer["y"], strict=True))
    place = max(range(len(points)), key=lambda one: sorted(math.dist(points[one], other) for other in points)[1])
    span = min(box["width"], box["height"]) - 56
    wide, high = min(box["width"] - 56, 2 * span), min(box["height"] - 56, 2 * span)
    x = (box["width"] - wide) / 2 + answer["x"][place] / 10_000 * wide
    y = (box["height"] - high) / 2 + (1 - answer["y"][place] / 10_000) * high
    return place, x, y


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_lies_on_the_map(width: int, page: Callable[..., Page]) -> None:
    """Every place of the map can be pointed at, on a phone too: no button covers campaigns."""
    seen = page(width=width).open(map="")
    covered = """[...Array(400).keys()].filter((at) => {
      const box = document.querySelector("canvas.rings").getBoundingClientRect();
      const x = box.x + (box.width * (at % 20 + 0.5)) / 20;
      const y = box.y + (box.height * (Math.floor(at / 20) + 0.5)) / 20;
      return !document.elementFromPoint(x, y)?.matches("canvas.rings");
    }).length"""
    seen.tab.evaluate("document.querySelector('.stage').scrollIntoView({ block: 'center' })")
    assert seen.tab.evaluate(covered) == 0


def test_a_click_on_the_map_opens_what_is_there(page: Callable[..., Page], api: Server) -> None:
    """The campaign that stands most alone, by where the API says that it stands."""
    one = page(width=1280)
    one.open(map="")
    tab = one.tab
    tab.wait_for_selector("[data-milliseconds]")
    answer = api.get("/v1/map")
    place, x, y = alone(answer, tab.locator("canvas.rings").bounding_box())
    box = tab.locator("canvas.rings").bounding_box()
    tab.mouse.move(box["x"] + x, box["y"] + y)
    tab.wait_for_selector(".tip:not([hidden])")
    assert tab.locator(".tip b").inner_text() == answer["name"][place]
    tab.mouse.wheel(0, -300)
    tab.wait_for_selector(".tip", state="hidden")
    tab.mouse.click(box["x"] + x, box["y"] + y)
    tab.wait_for_selector("text=Recommended keywords")
    assert tab.locator("main h2").inner_text() == answer["name"][place]


def test_going_back_finds_the_map_as_it_was(page: Callable[..., Page]) -> None:
    """Zoom and place, to the pixel."""
    one = page()
    one.open(map="")
    tab = one.tab
    tab.wait_for_selector("[data-milliseconds]")
    whole = tab.evaluate(PLOT)
    tab.get_by_role("application").focus()
    for pressed in ("+", "+", "ArrowLeft", "ArrowUp"):
        tab.keyboard.press(pressed)
    one.until("document.getElementById('status').textContent.includes(', ')")
    tab.wait_for_timeout(100)
    seen = tab.evaluate(PLOT)
    assert seen != whole
    tab.keyboard.press("Enter")
    tab.wait_for_selector("text=Recommended keywords")
    tab.go_back()
    tab.wait_for_selector("[data-milliseconds]")
    tab.wait_for_timeout(200)
    assert tab.evaluate(PLOT) == seen


def test_two_fingers_zoom_and_a_tap_tells_before_it_opens(page: Callable[..., Page], api: Server) -> None:
    """A finger has no hover: the first tap names the campaign, the second opens it."""
    one = page(width=360)
    one.open(map="")
    tab = one.tab
    tab.wait_for_selector("[data-milliseconds]")
    whole = tab.evaluate(PLOT)
    apart = [["down", 1, 0.4], ["down", 2, 0.6], ["move", 1, 0.4], ["move", 2, 0.9]]
    tab.evaluate(FINGERS, [*apart, ["up", 1, 0], ["up", 2, 0]])
    tab.wait_for_timeout(100)
    assert tab.evaluate(PLOT) != whole
    assert tab.locator("canvas.rings").evaluate("canvas => canvas.style.touchAction") == "none"
    tab.get_by_role("button", name="Show the whole map").click()
    answer, box = api.get("/v1/map"), tab.locator("canvas.rings").bounding_box()
    place, x, y = alone(answer, box)
    tap = [["down", 1, x / box["width"], y / box["height"]], ["up", 1, x / box["width"], y / box["height"]]]
    tab.evaluate(FINGERS, tap)
    assert tab.locator(".tip b").inner_text() == answer["name"][place]
    tab.evaluate(FINGERS, tap)
    tab.wait_for_selector("text=Recommended keywords")
    assert tab.locator("main h2").inner_text() == answer["name"][place]


def test_discs_are_round_and_stay_in_the_picture(page: Callable[..., Page]) -> None:
    """A disc covers its area; one at an edge is cut there and does not come out at the other side."""
    one = page()
    one.open()
    assert one.tab.evaluate(DISC, [20, 20, 4.0])["area"] == pytest.approx(math.pi * 16, rel=0.05)
    edge = one.tab.evaluate(DISC, [0, 20, 4.0])
    assert edge["area"] == pytest.approx(math.pi * 8 + 4, rel=0.1)
    assert edge["right"] == 0
    assert one.tab.evaluate(DISC, [-1, 20, 4.0])["area"] == 0


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (360, "dark"), (768, "light"), (1920, "dark")])
def test_every_view_can_be_read_and_reached(width: int, scheme: str, page: Callable[..., Page]) -> None:
    """Names, roles, headings, contrast, sizes to touch, and no sideways scrolling, at a phone's width and beyond."""
    one = page(width=width, scheme=scheme)
    faults = {}
    for view in VIEWS:
        one.open(**view)
        one.tab.wait_for_timeout(100)
        for summary in one.tab.locator("main details:not([open]) > summary").all()[:2]:
            summary.click()
        if found := one.faults():
            faults[urlencode(view)] = found
    bare = page(key=None, width=width, scheme=scheme)
    bare.open()
    assert (faults, bare.faults()) == ({}, [])


def test_the_tab_key_goes_through_the_page_in_its_order_and_is_seen(page: Callable[..., Page]) -> None:
    """From the skip link through navigation, search and key to the content; each stop has an outline."""
    one = page()
    one.open(search="coffee")
    tab = one.tab
    tab.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    stops = []
    for _ in range(9):
        tab.keyboard.press("Tab")
        stops.append(tab.evaluate(STOP))
    words = [stop[0].split(" – ")[0] for stop in stops]
    assert words[:5] == ["Skip to the content", "Similar campaigns", "Campaigns", "Paste keywords", "Map"]
    assert words[5:7] == ["query", "Search"]
    assert words[7].startswith("API key") and words[8].startswith("Coffee")
    assert all(seen for _, seen in stops)
    tab.locator("#skip").focus()
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.id") == "main"
    assert "search=coffee" in tab.url


def test_nothing_moves_for_who_wants_it_so(browser: Any, api: Server) -> None:
    """What turns while one waits stands still with reduced motion."""
    for motion, name in (("reduce", "none"), ("no-preference", "turn")):
        context = browser.new_context(reduced_motion=motion)
        tab = context.new_page()
        tab.goto(f"{api.url}/page")
        assert tab.evaluate(SPINNER) == name
        context.close()


class _Stage:
    """The application behind a stage's name, as API Gateway puts it in front of every path."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            assert scope["path"].startswith("/test/")
            scope = {**scope, "path": scope["path"].removeprefix("/test"), "raw_path": None}
        await self.app(scope, receive, send)


def test_it_works_behind_a_stage(browser: Any, api: Server) -> None:
    """All addresses are relative: files, answers and verdicts come from below the stage's name."""
    port = free_port()
    config = uvicorn.Config(
        _Stage(create_app(SETTINGS, write=lambda _: None)), port=port, log_level="error", lifespan="off"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    one = Page(browser, f"http://127.0.0.1:{port}/test")
    one.open(campaign="coffee-0001")
    assert one.tab.locator(".neighbours > li").count() > 3
    one.tab.locator("tbody tr").first.get_by_role("button", name="Accept").click()
    one.tab.wait_for_selector("tr.accepted")
    one.open(map="")
    one.tab.wait_for_selector("[data-milliseconds]")
    assert one.said == []
    one.context.close()
    server.should_exit = True
    thread.join(timeout=20)
