"""A UNIX socket before a server that listens on a loopback port alone."""

from __future__ import annotations

import select
import socket
import threading
from types import TracebackType


class Relay:
    """Passes connections to `path` on to the port, both ways, until it is left."""

    def __init__(self, path: str, port: int) -> None:
        self._port = port
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(16)
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while not self._over.is_set():
            if select.select([self._listener], [], [], 0.05)[0]:
                client, _ = self._listener.accept()
                thread = threading.Thread(target=self._pass, args=(client,))
                self._threads.append(thread)
                thread.start()

    def _pass(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._port)) as server:
            other = {client: server, server: client}
            while not self._over.is_set():
                for ready in select.select(list(other), [], [], 0.05)[0]:
                    try:
                        block = ready.recv(1 << 16)
                        other[ready].sendall(block)
                    except OSError:
                        return
                    if not block:
                        return

    def __enter__(self) -> Relay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(10)
        self._listener.close()
