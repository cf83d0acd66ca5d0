"""Paths as they were sent: a slash within a campaign's id (``%2F``) is none between two parts of a path.

Servers decode a path as a whole before an application sees it, and then ``a%2Fsimilar`` reads as ``a/similar``. Here
the raw path is cut into its parts first, each part is decoded, and what could be taken for a slash is encoded again;
routes name such a part :data:`CAMPAIGN_ID`, which decodes that.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

from starlette.convertors import Convertor, register_url_convertor
from starlette.types import Scope


def routed_path(scope: Scope) -> str:
    """The path of a request, in which every slash is one between parts.

    API Gateway's REST APIs pass a path on as it came (payload 1.0's ``path``), and so does uvicorn in ``raw_path``.
    """
    event = scope.get("aws.event")
    if isinstance(event, dict):
        raw = str(event.get("path") or "/")
    else:
        sent: bytes | None = scope.get("raw_path")
        raw = sent.decode("latin-1").partition("?")[0] if sent else quote(scope["path"])
    return "/".join(_encoded(unquote(part)) for part in raw.split("/"))


def _encoded(part: str) -> str:
    return part.replace("%", "%25").replace("/", "%2F")


class IdConvertor(Convertor[str]):
    """A part of a path that holds an id."""

    regex = "[^/]+"

    def convert(self, value: str) -> str:
        """The id."""
        return value.replace("%2F", "/").replace("%25", "%")

    def to_string(self, value: str) -> str:
        """The part."""
        return _encoded(value)


register_url_convertor("id", IdConvertor())
CAMPAIGN_ID = "{campaign_id:id}"
