"""A data directory that a server can be started on, whether it keeps an append-only file or not.

A server that does, and finds only a snapshot, starts with no keys at all: from version 7 on it wants its directory of
append-only files with a manifest. The first of them may be a snapshot, and ours is one: no server is needed to make it.
Source: aof.c of Redis 7 and 8, "multi part AOF".
"""

from __future__ import annotations

import errno
import os
import shutil

from orchestrator.engines._common import sync_folder
from orchestrator.engines.redis.rdb import Contents

SNAPSHOT = "dump.rdb"
AOF_FOLDER = "appendonlydir"
AOF_BASE = "appendonly.aof.1.base.rdb"
AOF_MANIFEST = "appendonly.aof.manifest"
AOF_OLD = "appendonly.aof"  # before version 7
MANIFEST_TEXT = f"file {AOF_BASE} seq 1 type b\n"
_FIRST_WITH_FOLDER = 7


def complete(folder: str, contents: Contents) -> None:
    """Add to a folder that holds a snapshot what a server with an append-only file looks for. Raises OSError."""
    snapshot = os.path.join(folder, SNAPSHOT)
    if major(contents) < _FIRST_WITH_FOLDER:
        # Such a server goes on writing at the end of this file: it must not be the snapshot under another name.
        _copy(snapshot, os.path.join(folder, AOF_OLD))
    else:
        inner = os.path.join(folder, AOF_FOLDER)
        os.mkdir(inner, 0o700)
        link_or_copy(snapshot, os.path.join(inner, AOF_BASE))
        fd = os.open(os.path.join(inner, AOF_MANIFEST), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(fd, "w", encoding="ascii") as file:
            file.write(MANIFEST_TEXT)
            file.flush()
            os.fsync(fd)
        sync_folder(inner)
    sync_folder(folder)


def major(contents: Contents) -> int:
    """Return the first number of the version that made a snapshot; Valkey began with Redis' 7."""
    first = contents.aux.get("redis-ver", "").partition(".")[0]
    return int(first) if first.isdigit() and "valkey-ver" not in contents.aux else _FIRST_WITH_FOLDER


def untouched(folder: str) -> bool:
    """Whether the append-only files are still what was made here: nothing was written since."""
    inner = os.path.join(folder, AOF_FOLDER)
    if not os.path.isdir(inner):
        return os.path.getsize(os.path.join(folder, AOF_OLD)) == os.path.getsize(os.path.join(folder, SNAPSHOT))
    with open(os.path.join(inner, AOF_MANIFEST), encoding="utf-8", errors="replace") as file:
        return file.read() == MANIFEST_TEXT and sorted(os.listdir(inner)) == [AOF_BASE, AOF_MANIFEST]


def link_or_copy(source: str, target: str) -> None:
    """Give a file that nobody writes to a second name, or copy it where that cannot be. Raises OSError."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.EMLINK, errno.EXDEV, errno.EOPNOTSUPP}:
            raise
        _copy(source, target)


def _copy(source: str, target: str) -> None:
    shutil.copyfile(source, target)
    os.chmod(target, 0o600)
    with open(target, "rb") as file:
        os.fsync(file.fileno())


def give(folder: str, uid: int, gid: int) -> None:
    """Make a folder and all in it somebody's. Raises OSError."""
    for base, _, files in os.walk(folder):
        os.chown(base, uid, gid)
        for name in files:
            os.chown(os.path.join(base, name), uid, gid, follow_symlinks=False)
