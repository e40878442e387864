"""Data to back up, the same on every machine: seeded, not compressible beyond what its kind is."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path


def tree(folder: Path, files: int, size: int) -> Path:
    """Make `files` files of about `size` bytes in folders of a hundred."""
    source = random.Random(7)
    for number in range(files):
        place = folder / f"{number // 100:04}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"file {number}.bin").write_bytes(source.randbytes(size))
    return folder


def sqlite_database(path: Path, size: int, seed: int) -> Path:
    """Make a SQLite database of about `size` bytes."""
    source = random.Random(seed)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE note (id INTEGER PRIMARY KEY, title TEXT, body TEXT)")
        connection.executemany(
            "INSERT INTO note (title, body) VALUES (?, ?)",
            ((f"note {number}", source.randbytes(100).hex()) for number in range(size // 230)),
        )
    return path
