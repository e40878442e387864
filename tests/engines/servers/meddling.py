"""A loopback port before a server that cuts or damages what one client is sent, as a failing network does."""

from __future__ import annotations

import select
import socket
import threading
from types import TracebackType


class Meddler:
    """Passes everything on. Of the connection whose client says `word`, the answer is changed at byte `at` from there:
    ended (flip=False), or one bit of it is turned.
    """

    def __init__(self, server: int, word: bytes, at: int, *, flip: bool = False) -> None:
        self._server, self._word, self._at, self._flip = server, word, at, flip
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.done = threading.Event()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while not self._over.is_set():
            if select.select([self._listener], [], [], 0.05)[0]:
                client, _ = self._listener.accept()
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
        sent = -1  # bytes of the answer that matters
        while not self._over.is_set():
            for ready in select.select([client, server], [], [], 0.05)[0]:
                block = ready.recv(1 << 14)
                if not block:
                    return
                if ready is client:
                    sent = max(sent, 0) if self._word in block else sent
                    server.sendall(block)
                    continue
                if sent >= 0 and sent <= self._at < sent + len(block):
                    block = self._changed(block, self._at - sent)
                    self.done.set()
                    client.sendall(block)
                    if not self._flip:
                        return
                else:
                    client.sendall(block)
                sent += len(block) if sent >= 0 else 0

    def _changed(self, block: bytes, at: int) -> bytes:
        if not self._flip:
            return block[:at]
        return block[:at] + bytes([block[at] ^ 4]) + block[at + 1 :]

    def __enter__(self) -> Meddler:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(10)
        self._listener.close()
