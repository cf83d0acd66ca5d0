"""A server before the local AWS that can fall silent: it takes connections and requests, and answers nothing."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator


class SilentProxy:
    """Passes bytes on while it speaks; what comes in a silence is passed on when it ends."""

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self._speaks, self._over = threading.Event(), threading.Event()
        self._speaks.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def fall_silent(self) -> None:
        """Answer nothing from now on."""
        self._speaks.clear()

    def speak(self) -> None:
        """Answer, also what was asked meanwhile."""
        self._speaks.set()

    def close(self) -> None:
        """End all connections."""
        self._over.set()
        self._speaks.set()
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while not self._over.is_set():
                caller, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._to_port))
                self._open += [caller, server]
                for source, target in ((caller, server), (server, caller)):
                    threading.Thread(target=self._pass_on, args=(source, target), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while content := source.recv(65_536):
                self._speaks.wait()
                target.sendall(content)
            target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def silent_proxy(to_port: int) -> Iterator[SilentProxy]:
    """A proxy to a port of this machine, closed afterwards."""
    proxy = SilentProxy(to_port)
    try:
        yield proxy
    finally:
        proxy.close()
