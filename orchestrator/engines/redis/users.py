"""The users of a server and their rights, as the lines of an ACL file; passwords are in it as hashes.

A restore only adds users that are missing, as everywhere: it must never bring a revoked right or an old password back.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from orchestrator.engines._common import sync_folder
from orchestrator.engines.redis.bringing import Blocks, assert_free
from orchestrator.engines.redis.connection import Target, connect, lacking, target_of
from orchestrator.engines.redis.memory import memory_file
from orchestrator.engines.redis.wire import Refused, Wire
from orchestrator.model.engine import Data, DumpEnd, Item, Restored
from orchestrator.model.errors import ResguardoError, RestoreFailed, RightsMissing, ServerUnreachable
from orchestrator.model.execution import Executor, Finding, RemovePath, Trailer, Undo

RIGHTS = "+acl|list"
_MAGIC = b"user "
_LIMIT = 64 << 20
_TRAILER = Trailer(magic=_MAGIC, footer=b"\n", tail=1, min_bytes=len(_MAGIC) + 1)


@dataclass
class Listed:
    """A dump of the users, which is there as a whole."""

    fd: int
    lines: list[str]
    bytes: int
    as_of: datetime
    trailer: Trailer = _TRAILER

    def finish(self) -> DumpEnd:
        """Nothing can have gone wrong since."""
        return DumpEnd(counts=counts(self.lines), counts_exact=True, as_of=self.as_of, bytes=self.bytes)


def listed(wire: Wire) -> list[str]:
    """Return `user NAME RULE…` for each user. Raises Refused (no right, or a server before Redis 6)."""
    found = wire.call("ACL", "LIST")
    lines = found if isinstance(found, list) else []
    return [line.decode("utf-8", "surrogateescape") for line in lines if isinstance(line, bytes)]


def counts(lines: list[str]) -> dict[str, int]:
    """Return `user NAME` → 1."""
    return {f"user {name}": 1 for name, _ in _parsed(lines)}


def _parsed(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    for line in lines:
        words = line.split(" ")
        if len(words) > 1 and words[0] == "user":
            yield words[1], words[2:]


def dump_users(stack: ExitStack, target: Target) -> Listed:
    """Read them, once and whole. Raises RightsMissing."""
    as_of = datetime.now(UTC)
    with connect(target) as wire:
        try:
            lines = listed(wire)
        except Refused as refused:
            raise lacking(target, refused, RIGHTS) from refused
    text = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
    fd = memory_file("redis-users", text)
    stack.callback(os.close, fd)
    return Listed(fd, lines, len(text), as_of)


def restore_users(item: Item, data: Data, to: str, at: Executor, undo: Undo) -> Restored:
    """Write them to the new file `to`, and create on the server those that it lacks.

    Raises RestoreFailed, DataDamaged; a server that does not answer is a finding.
    """
    content = b""
    with Blocks(data, item.source.wait) as blocks:
        while block := blocks.pull():
            content += block
            if len(content) > _LIMIT:
                raise RestoreFailed(f"{to!r}: the users take more than {_LIMIT} bytes", "look at the stored file")
    lines = content.decode("utf-8", "surrogateescape").splitlines()
    if any(not line.startswith("user ") for line in lines):
        raise RestoreFailed(f"{to!r}: what was stored are not users", "restore another point")
    _written(content, os.path.abspath(to), undo)
    return Restored(to, tuple(_created(item, lines, at)))


def _written(content: bytes, target: str, undo: Undo) -> None:
    """Make the file; it gets its name when it is whole. Raises RestoreFailed."""
    assert_free(target)
    part = os.path.join(os.path.dirname(target), f".resguardo-{secrets.token_hex(8)}.part")
    action = undo.register(RemovePath(part))
    try:
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(fd)
        assert_free(target)
        os.rename(part, target)
        sync_folder(os.path.dirname(target))
    except OSError as error:
        raise RestoreFailed(f"{target!r}: {error.strerror}", "mend it, or restore to another folder") from error
    finally:
        with suppress(FileNotFoundError):
            os.unlink(part)
        undo.done(action)


def _created(item: Item, lines: list[str], at: Executor) -> Iterator[Finding]:
    try:
        target = target_of(item.source, at, "restore")
        with connect(target) as wire:
            yield from _missing(wire, lines, target)
    except ServerUnreachable as error:
        hint = "give the file to the server with its setting aclfile, or load its lines with ACL SETUSER"
        yield Finding("warning", f"no user was created: {error.message}", hint)


def _missing(wire: Wire, lines: list[str], target: Target) -> Iterator[Finding]:
    try:
        here = dict(_parsed(listed(wire)))
        for name, rules in _parsed(lines):
            if name not in here:
                wire.call("ACL", "SETUSER", name, *rules)
                yield Finding("info", f"user {name!r} was created", "ACL SAVE or CONFIG REWRITE makes it last")
            elif here[name] != rules:
                text = f"user {name!r} is there with other rights than then, and was left alone"
                yield Finding("info", text, "the stored file tells them")
    except Refused as refused:
        if refused.code == "NOPERM":
            error = lacking(target, refused, "+acl|list +acl|setuser")
            raise RightsMissing(error.message, f"{error.hint}, or set restore_user") from refused
        raise RestoreFailed(f"users cannot be created: {refused.said}", "see the server's log") from refused


def verify_users(item: Item, to: str, expected: Mapping[str, int], at: Executor) -> list[Finding]:
    """Every user of then is in the file, and on the server where that answers."""
    try:
        with open(to, encoding="utf-8", errors="surrogateescape") as file:
            written = counts(file.read().splitlines())
    except OSError as error:
        return [Finding("error", f"{to!r}: {error.strerror}", "restore it again")]
    found = [Finding("error", f"{to!r}: {name!r} is not in it") for name in sorted({*expected} - {*written})]
    try:
        with connect(target_of(item.source, at, "restore")) as wire:
            here = counts(listed(wire))
    except ServerUnreachable:
        return found
    except ResguardoError as error:
        return [*found, Finding("warning", f"the server's users cannot be listed: {error.message}", error.hint)]
    return [*found, *(Finding("error", f"{name!r} is not on the server") for name in sorted({*expected} - {*here}))]
