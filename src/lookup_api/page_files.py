"""The analysts' page: static files beside the API, which call it under the same origin and base path.

All addresses in them are relative, because a stage of API Gateway puts its name in front. The policy lets nothing in
from elsewhere and no inline code run, and forbids assigning markup to the document at all, so that names stay text.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

PAGE = "page"
_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
        "trusted-types 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # Asked again each time and mostly answered 304: a new version of the page is seen at once.
    "Cache-Control": "no-cache",
}

router = APIRouter(include_in_schema=False, default_response_class=Response)


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    kind: str
    tag: str


def _read() -> dict[str, _File]:
    found = {}
    for path in resources.files("lookup_api").joinpath(PAGE).iterdir():
        kind = _TYPES.get(path.name.rpartition(".")[2])
        if kind is not None:
            content = path.read_bytes()
            tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
            found[path.name] = _File(content, f"{kind}; charset=utf-8", tag)
    return found


_FILES = _read()
NAMES = tuple(sorted(_FILES))


@router.get("/")
async def start(request: Request) -> Response:
    """To the page; behind API Gateway the address begins with the stage."""
    event = request.scope.get("aws.event")
    path = event.get("requestContext", {}).get("path", "/") if isinstance(event, dict) else "/"
    return Response(
        status_code=307, headers={"Location": f"{str(path).rstrip('/')}/{PAGE}", "Cache-Control": "no-store"}
    )


@router.get("/page")
async def page(request: Request) -> Response:
    """The page itself."""
    return _answer(request, "index.html")


@router.get("/page/{name}")
async def page_file(request: Request, name: str) -> Response:
    """A style sheet or a script of the page."""
    if name not in _FILES:
        raise HTTPException(404)
    return _answer(request, name)


def _answer(request: Request, name: str) -> Response:
    file = _FILES[name]
    headers = {**_HEADERS, "ETag": file.tag}
    if file.tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(file.content, headers={**headers, "Content-Type": file.kind})
