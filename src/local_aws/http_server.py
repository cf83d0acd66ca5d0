"""A threaded HTTP/1.1 server for moto's WSGI applications, on loopback only.

Werkzeug's development server closes every connection and waits 10 ms for stray bytes after each answer. Here
connections stay open, the request's body is bounded by its length and drained, an answer leaves in one packet, and a
:class:`FileBody` goes from disk to socket without passing through Python.
"""

from __future__ import annotations

import errno
import gc
import io
import logging
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.serving import BaseWSGIServer, make_server

from local_aws.config import LocalAwsError

LOG = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
Environ = dict[str, Any]
Headers = list[tuple[str, str]]
WsgiApp = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

_DRAIN_LIMIT = 64 << 20  # bytes of an unread body that are worth reading to keep the connection
_LARGE_BODY = 1 << 20  # bytes
_LARGE_BODIES = 256 << 20  # bytes of them between two collections of everything, which take a tenth of a second
_NO_BODY = frozenset({204, 304})


@dataclass
class FileBody:
    """A response body of ``count`` bytes from ``offset`` of an open file; the server sends and closes it."""

    file: BinaryIO
    offset: int
    count: int

    def __iter__(self) -> Iterator[bytes]:
        """The body in chunks, for callers other than this server."""
        self.file.seek(self.offset)
        left = self.count
        while left and (chunk := self.file.read(min(left, 1 << 20))):
            left -= len(chunk)
            yield chunk

    def close(self) -> None:
        """Close the file."""
        self.file.close()


class BodyReader:
    """``wsgi.input`` that ends where the request's body ends, so that the next request can follow."""

    def __init__(self, source: BinaryIO, length: int) -> None:
        self._source = source
        self.left = length

    def read(self, size: int = -1) -> bytes:
        """At most ``size`` bytes, all that are left by default."""
        wanted = self.left if size is None or size < 0 else min(size, self.left)
        chunk = self._source.read(wanted) if wanted else b""
        self.left -= len(chunk)
        return chunk

    def readline(self, size: int = -1) -> bytes:
        """One line, within the body."""
        wanted = self.left if size is None or size < 0 else min(size, self.left)
        line = self._source.readline(wanted) if wanted else b""
        self.left -= len(line)
        return line

    def __iter__(self) -> Iterator[bytes]:
        while line := self.readline():
            yield line


def whole_body(environ: Environ) -> bytes:
    """A request's body, which stays in ``environ`` for whom it is passed on to."""
    length = int(environ.get("CONTENT_LENGTH") or 0)
    source = environ["wsgi.input"]
    body: bytes = source.read(length) if length or isinstance(source, BodyReader) else source.read()
    environ["wsgi.input"] = io.BytesIO(body)
    return body


class KeepAliveHandler(MotoRequestHandler):  # type: ignore[misc]
    """Answers requests of one connection until the client closes it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 64 << 10  # headers and a small body leave together
    timeout = 600  # seconds; an idle connection is dropped

    def handle_expect_100(self) -> bool:
        """Send one '100 Continue'; without it botocore waits a second before it sends a body."""
        self.send_response_only(100)
        self.end_headers()
        self.wfile.flush()
        return True

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        """Requests are for debugging; errors are logged where they happen."""
        LOG.debug('"%s" %s %s', self.requestline, code, size)

    def log(self, type: str, message: str, *args: Any) -> None:
        """Werkzeug's messages go to the server's log."""
        LOG.log(getattr(logging, type.upper(), logging.INFO), message, *args)

    def run_wsgi(self) -> None:
        """Answer one request."""
        environ = self.make_environ()
        chunked = environ.get("wsgi.input_terminated", False)
        length = 0 if chunked else _content_length(environ)
        body = BodyReader(self.rfile, length)
        if not chunked:
            environ["wsgi.input"] = body
        answer: list[Any] = []

        def start_response(status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], None]:
            del exc_info
            answer[:] = [status, headers]
            return _no_write

        try:
            chunks = self.server.app(environ, start_response)
        except Exception:
            LOG.exception("error while answering %s", self.requestline)
            answer[:] = ["500 Internal Server Error", [("Content-Type", "text/plain")]]
            chunks = [b"internal error of the local AWS; see its server.log"]
        if chunked or body.left > _DRAIN_LIMIT:
            self.close_connection = True
        else:
            while body.left and body.read(1 << 20):
                pass
        try:
            self._send(answer[0], answer[1], chunks)
        finally:
            if close := getattr(chunks, "close", None):
                close()
            environ.clear()
            if length > _LARGE_BODY:
                _collect_body(length)

    def _send(self, status: str, headers: Headers, chunks: Iterable[bytes]) -> None:
        code = int(status.split(" ", 1)[0])
        head_only = self.command == "HEAD" or code in _NO_BODY
        lengths = [value for name, value in headers if name.lower() == "content-length"]
        if not lengths and not head_only and not isinstance(chunks, FileBody):
            chunks = [b"".join(chunks)]
        self.send_response(code, status.split(" ", 1)[1] if " " in status else "")
        for name, value in headers:
            if name.lower() != "connection":
                self.send_header(name, value)
        if not lengths and code not in _NO_BODY and self.command != "HEAD":
            size = chunks.count if isinstance(chunks, FileBody) else len(chunks[0])  # type: ignore[index]
            self.send_header("Content-Length", str(size))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if head_only:
            self.wfile.flush()
        elif isinstance(chunks, FileBody):
            self.wfile.flush()
            self.connection.sendfile(chunks.file, chunks.offset, chunks.count)
        else:
            for chunk in chunks:
                self.wfile.write(chunk)
            self.wfile.flush()


_uncollected = 0  # bytes; threads may lose a count, and collect a little later


def _collect_body(length: int) -> None:
    """Let go of a large body: Flask's request and moto's handler refer to each other, and to it.

    They are young, so the collector seldom has to look at all that moto holds, which would stop every other request.
    """
    global _uncollected  # noqa: PLW0603 - one collector a process
    _uncollected += length
    if _uncollected > _LARGE_BODIES:
        _uncollected = 0
        gc.collect()
    else:
        gc.collect(1)


def listen(port: int) -> socket.socket:
    """A bound and listening loopback socket; port 0 takes a free one.

    Raises:
        LocalAwsError: the port is in use or not allowed.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
    except (OSError, OverflowError) as error:
        listener.close()
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise LocalAwsError(
                f"port {port} is in use by another program; stop it, or choose another with --port"
            ) from error
        raise LocalAwsError(
            f"port {port} cannot be used ({error}); choose another with --port, 1024 to 65535"
        ) from error
    listener.listen(128)
    return listener


def serve_on(listener: socket.socket, app: WsgiApp) -> BaseWSGIServer:
    """A server for ``app`` on a listening socket; call ``serve_forever`` on it."""
    host, port = listener.getsockname()[:2]
    return make_server(host, port, app, threaded=True, request_handler=KeepAliveHandler, fd=listener.fileno())


def _content_length(environ: Environ) -> int:
    try:
        return max(0, int(environ.get("CONTENT_LENGTH") or 0))
    except ValueError:
        return 0


def _no_write(_: bytes) -> None:
    raise NotImplementedError("the applications served here return their bodies")
