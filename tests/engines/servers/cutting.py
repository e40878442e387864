"""A loopback port before a server that cuts one connection at a chosen word, as a failing network does."""

from __future__ import annotations

import select
import socket
import threading
from types import TracebackType
from typing import Literal


class CuttingProxy:
    """Passes everything on, until a client's message holds `word`: then that connection ends, once.

    when: "before" the message reaches the server, or "after" the server's answer arrived, which the client never sees ·
    port: where clients connect to · for_good: no connection is taken any more from then on.
    """

    def __init__(
        self, server: int, word: bytes, when: Literal["before", "after"] = "before", *, for_good: bool = False
    ) -> None:
        self._server, self._word, self._when, self._for_good = server, word, when, for_good
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.cut = threading.Event()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while not self._over.is_set():
            if not select.select([self._listener], [], [], 0.05)[0]:
                continue
            client, _ = self._listener.accept()
            if self._for_good and self.cut.is_set():
                client.close()
                continue
            thread = threading.Thread(target=self._serve, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._server)) as server:
            try:
                self._pass(client, server)
            except OSError:
                return  # the other side is gone

    def _pass(self, client: socket.socket, server: socket.socket) -> None:
        while not self._over.is_set():
            for ready in select.select([client, server], [], [], 0.05)[0]:
                block = ready.recv(1 << 16)
                if not block:
                    return
                if ready is server:
                    client.sendall(block)
                    continue
                met = self._word in block and not self.cut.is_set()
                if met:
                    self.cut.set()
                if not (met and self._when == "before"):
                    server.sendall(block)
                if met:
                    _ = self._when == "after" and server.recv(1)
                    return

    def __enter__(self) -> CuttingProxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(10)
        self._listener.close()
