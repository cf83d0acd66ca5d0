"""The analysts' page as files: served beside the API, loading nothing from elsewhere, running nothing inline."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from lookup_api import page_files
from lookup_api.gateway import PAGE
from tests.lookup_api.conftest import Server

FOLDER = Path(page_files.__file__).parent / "page"
SCRIPTS = sorted(FOLDER.glob("*.js"))


class _Elements(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_page_needs_no_key_and_is_guarded(api: Server) -> None:
    """Each file has its type and the policy: own scripts alone, no markup from strings, in no other page's frame."""
    for path in ("/page", *(f"/page/{name}" for name in page_files.NAMES)):
        response = api.request("GET", path, None)
        assert response.status_code == 200
        policy = response.headers["content-security-policy"]
        assert "'unsafe-" not in policy and "http" not in policy
        for rule in ("default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"):
            assert rule in policy
        assert "require-trusted-types-for 'script'" in policy
        assert response.headers["x-content-type-options"] == "nosniff"
    kinds = {name.rpartition(".")[2] for name in page_files.NAMES}
    assert kinds == {"html", "css", "js"}
    assert api.request("GET", "/page/page.js", None).headers["content-type"] == "text/javascript; charset=utf-8"


def test_all_files_of_the_folder_are_served_and_installed(api: Server) -> None:
    """What the page imports is there, and a wheel would hold it."""
    assert set(page_files.NAMES) == {path.name for path in FOLDER.iterdir()}
    for script in SCRIPTS:
        for imported in re.findall(r'from "\./([\w.]+)"', script.read_text()):
            assert imported in page_files.NAMES
    patterns = (Path(__file__).parents[2] / "setup.cfg").read_text()
    assert all(f"page/*.{kind}" in patterns for kind in ("html", "css", "js"))


def test_an_unchanged_file_is_not_sent_again(api: Server) -> None:
    """It is asked for each time, so that a new page is seen at once, and answered 304."""
    first = api.request("GET", "/page/page.css", None)
    again = api.request("GET", "/page/page.css", None, headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert first.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("name", ["nothing.js", "..%2Froutes.py", "%2e%2e/routes.py", "page.js%00", ""])
def test_nothing_else_is_served(name: str, api: Server) -> None:
    """Files are named beforehand: no path leads out of the folder."""
    assert api.request("GET", f"/page/{name}", None).status_code == 404


def test_the_root_leads_to_the_page(api: Server) -> None:
    """Whoever opens the API's address in a browser is sent on."""
    response = api.request("GET", "/", None)
    assert (response.status_code, response.headers["location"]) == (307, "/page")


def test_addresses_are_relative_and_nothing_is_inline() -> None:
    """A stage's prefix stays in front of every request, and the policy forbids nothing that the page needs."""
    for tag, attributes in _Elements((FOLDER / "index.html").read_text()).found:
        for name in ("src", "href", "action"):
            value = attributes.get(name)
            assert value is None or value == "data:," or value.startswith(("#", "page/")), (tag, value)
        assert "style" not in attributes and not any(name.startswith("on") for name in attributes)
        assert tag != "script" or attributes.get("src")
    for path in (*SCRIPTS, FOLDER / "page.css"):
        text = path.read_text()
        assert not re.search(r"https?://|@import|url\(|localStorage|document\.cookie", text)
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)


def test_the_gateway_has_the_pages_paths() -> None:
    """The document that API Gateway imports names each route of the page."""
    assert {route.path for route in page_files.router.routes} == set(PAGE)  # type: ignore[attr-defined]
