"""The three ways to a snapshot's bytes. Each returns blocks until b"", and raises when the bytes are not whole."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from orchestrator.engines.redis import programs
from orchestrator.engines.redis.connection import Target, connect, granting, lacking
from orchestrator.engines.redis.memory import memory_file
from orchestrator.engines.redis.proof import assert_beside
from orchestrator.engines.redis.rdb import Contents
from orchestrator.engines.redis.saving import Saved, saved
from orchestrator.engines.redis.wire import Refused, Wire
from orchestrator.model.errors import DumpFailed, Precondition
from orchestrator.model.execution import Executor, Proc, Undo

MARK = 40  # bytes of the random mark that ends a snapshot of unknown length
BLOCK = 1 << 18
REPLICATION_RIGHTS = "+psync +replconf"
CLI_RIGHTS = "+sync +replconf"
_HEX = re.compile(rb"[0-9a-f]{40}")


class Payload(Protocol):
    """A snapshot on its way. began: not before this instant was its state taken."""

    began: datetime

    def pull(self) -> bytes:
        """Return the next bytes of the snapshot alone, b"" after the last. Raises ResguardoError."""

    def assert_own(self, found: Contents) -> None:
        """See that what was pulled is that server's. Raises DumpFailed."""

    def stop(self) -> None:
        """End a `pull` of another thread."""


@dataclass(frozen=True)
class Place:
    """Whose snapshot is wanted, and where the tools run."""

    target: Target
    at: Executor
    undo: Undo
    timeout: float


class Replication:
    """The server believes that a replica asks for a full copy. Source: replication.c of Redis 7 and Valkey 9.

    The end is told by a length, or by a mark that was told at the beginning.
    """

    def __init__(self, wire: Wire, target: Target) -> None:
        self._wire = wire
        self._target = target
        self._ask(("REPLCONF", "capa", "eof"), required=True)
        # From 7.0 on: nothing but the snapshot, so that the server keeps no writes for us meanwhile.
        self._ask(("REPLCONF", "rdb-only", "1"), required=False)
        # Valkey gives whom it takes for an older replica an older format, or nothing where that cannot hold the data.
        self._ask(("REPLCONF", "version", "255.255.255"), required=False)
        self.began = datetime.now(UTC)
        self._start()
        self._left, self._mark = self._announced()
        self._held = b""
        self._over = False

    def _ask(self, words: tuple[str, ...], *, required: bool) -> None:
        try:
            self._wire.call(*words)
        except Refused as refused:
            if refused.code == "NOPERM":
                raise lacking(self._target, refused, REPLICATION_RIGHTS) from refused
            if required:
                raise DumpFailed(f"{self._target.where}: {refused.said}", "use another method") from refused

    def _start(self) -> None:
        self._wire.send("PSYNC", "?", "-1")
        line = self._line()
        if line.startswith(b"-"):
            refused = Refused(line[1:].decode("utf-8", "replace"), self._target.where)
            if refused.code == "NOPERM":
                raise lacking(self._target, refused, REPLICATION_RIGHTS)
            raise DumpFailed(f"{self._target.where}: no snapshot: {refused.said}", _advice(refused))
        if not line.startswith(b"+FULLRESYNC"):
            said = line[:60].decode("ascii", "replace")
            raise DumpFailed(f"{self._target.where}: no snapshot, but {said!r}", "use another method")

    def _line(self) -> bytes:
        """Return the next line that is none of those by which the server says that it is still there."""
        while not (line := self._wire.line()):
            pass
        return line

    def _announced(self) -> tuple[int, bytes]:
        """Return (length, b"") or (0, mark)."""
        line = self._line()
        if line.startswith(b"$EOF:") and len(line) == 5 + MARK:
            return 0, line[5:]
        if line.startswith(b"$") and line[1:].isdigit():
            return int(line[1:]), b""
        said = line[:200].decode("utf-8", "replace").lstrip("-")
        raise DumpFailed(f"{self._target.where}: no snapshot: {said}", "see the server's log")

    def pull(self) -> bytes:
        """See the port."""
        return self._to_mark() if self._mark else self._to_length()

    def _to_length(self) -> bytes:
        if not self._left:
            return b""
        block = self._block()[: self._left]
        self._left -= len(block)
        return block

    def _to_mark(self) -> bytes:
        while not self._over:
            self._held += self._block()
            self._over = self._held.endswith(self._mark)
            ready = len(self._held) - MARK
            if ready > 0:
                block, self._held = self._held[:ready], self._held[ready:]
                return block
        return b""

    def _block(self) -> bytes:
        block = self._wire.receive()
        if not block:
            raise DumpFailed(f"{self._target.where}: the server ended the transfer early", "see the server's log")
        return block

    def assert_own(self, found: Contents) -> None:
        """See the port: it came from the server itself."""

    def stop(self) -> None:
        """See the port."""
        self._wire.stop()


def _advice(refused: Refused) -> str:
    if refused.code == "NOMASTERLINK":
        return "this replica has lost its own source: back up that one, or mend the link"
    return "see the server's log"


class Output:
    """What a program prints. marked: it may end with the mark, which is no part of the snapshot."""

    def __init__(self, fd: int, proc: Proc, what: str, target: Target, *, marked: bool) -> None:
        self.began = datetime.now(UTC)
        self._fd = fd
        self._target = target
        self._proc = proc
        self._what = what
        self._marked = marked
        self._held = b""

    def pull(self) -> bytes:
        """See the port."""
        while block := self._read():
            if not self._marked:
                return block
            self._held += block
            if len(self._held) > MARK:
                block, self._held = self._held[:-MARK], self._held[-MARK:]
                return block
        end = self._proc.wait()
        if not end.ok:
            how = "took too long" if end.timed_out else f"exit code {end.code}"
            said = " ".join(end.stderr_tail.split())[-300:]
            hint = granting(self._target, CLI_RIGHTS) if "NOPERM" in said else "see the server's log"
            raise DumpFailed(f"{self._what} failed ({how}){': ' if said else ''}{said}", hint)
        rest, self._held = self._held, b""
        # The mark is 40 hexadecimal digits, and a snapshot's last bytes but eight are 0xff.
        return b"" if _HEX.fullmatch(rest) else rest

    def _read(self) -> bytes:
        if not self._target.wait((self._fd,), self._target.limit):
            text = f"{self._what}: no byte within {self._target.limit:g} s"
            raise DumpFailed(text, "see what the server is waiting for")
        return os.read(self._fd, BLOCK)

    def assert_own(self, found: Contents) -> None:
        """See the port: the program has it from the server."""

    def stop(self) -> None:
        """See the port."""
        self._proc.stop()


class Stored:
    """A file that the server wrote."""

    def __init__(self, output: Output, saving: Saved, wire: Wire, where: str) -> None:
        self.began = saving.began
        self._output = output
        self._first = output.pull()  # from here on it is open
        self._proof = saving.proof(wire, where)

    def pull(self) -> bytes:
        """See the port."""
        block, self._first = self._first or self._output.pull(), b""
        return block

    def assert_own(self, found: Contents) -> None:
        """See the port: the path may be another server's."""
        self._proof.assert_own(found)

    def stop(self) -> None:
        """See the port."""
        self._output.stop()


@contextmanager
def replication(place: Place) -> Iterator[Payload]:
    """Be a replica for the time of one snapshot."""
    with connect(place.target) as wire:
        yield Replication(wire, place.target)


@contextmanager
def cli(place: Place) -> Iterator[Payload]:
    """Let redis-cli be the replica. The password is its standard input: arguments and environment can be seen."""
    secret = place.target.password
    tool = programs.find("cli", place.target.options, place.at)
    coordinates, files = _coordinates(place.target)
    argv = [tool, *coordinates, *(["--askpass"] if secret else []), "--rdb", "-"]
    given = f"{secret.reveal()}\n".encode() if secret else None
    with _printed(place, argv, os.path.basename(tool), given, files, marked=True) as output:
        yield output


def _coordinates(target: Target) -> tuple[list[str], dict[str, bytes]]:
    """Return arguments, and the private files that they name: those of `tls` are this host's."""
    options, address = target.options, target.address
    argv = ["-s", address.socket] if address.socket else ["-h", address.host, "-p", str(address.port)]
    argv += ["--user", target.user] if target.user else []
    if options.tls_mode == "disable" or address.socket:
        return argv, {}
    argv += ["--tls", "--sni", options.host or address.host]
    named = {"cacert": options.tls.ca, "cert": options.tls.cert, "key": options.tls.key}
    files = {name: _content(path) for name, path in named.items() if path}
    for name in files:
        argv += [f"--{name}", f"{{secret:{name}}}"]
    return [*argv, *(["--insecure"] if options.tls_mode == "require" else [])], files


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise Precondition(f"{path}: cannot be read: {error.strerror}", "check the files that `tls` names") from error


@contextmanager
def bgsave(place: Place) -> Iterator[Payload]:
    """Let the server write its file, then read that where the server's tools are."""
    target = place.target
    assert_beside(target)
    with ExitStack() as stack:
        with connect(target) as wire:
            saving = saved(wire, target, place.timeout)
            output = stack.enter_context(_printed(place, ["cat", "--", saving.path], f"reading {saving.path!r}"))
            stored = Stored(output, saving, wire, target.where)
        yield stored


@contextmanager
def _printed(
    place: Place,
    argv: list[str],
    what: str,
    given: bytes | None = None,
    files: Mapping[str, bytes] | None = None,
    *,
    marked: bool = False,
) -> Iterator[Output]:
    """Start a program and read what it prints. given: its standard input · files: see `secrets` of Executor.start."""
    with ExitStack() as stack:
        read, write = os.pipe()
        stack.callback(os.close, read)
        stdin = None if given is None else memory_file("redis-input", given)
        try:
            proc = place.at.start(
                argv, undo=place.undo, secrets=files, stdin=stdin, stdout=write, deadline=place.timeout
            )
        finally:
            os.close(write)
            if stdin is not None:
                os.close(stdin)
        stack.callback(proc.stop)
        yield Output(read, proc, what, place.target, marked=marked)


OPENING: Mapping[str, Callable[[Place], AbstractContextManager[Payload]]] = {
    "replication": replication,
    "cli": cli,
    "bgsave": bgsave,
}
