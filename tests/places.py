"""Folders and ports of tests that run side by side."""

from __future__ import annotations

import os
import random
import socket
from pathlib import Path


def let_others_in(folder: Path) -> None:
    """Let every user enter a folder: it and what it lies in, as far as that is ours."""
    for place in (folder, *folder.parents):
        status = place.stat()
        if status.st_uid == os.geteuid() and status.st_mode & 0o055 != 0o055:
            place.chmod(status.st_mode | 0o055)


def free_port() -> int:
    """Return a loopback port that nobody listens on; outgoing connections and `bind` to port 0 do not take it."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
