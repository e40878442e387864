"""What every engine must hold, as one suite: a test class per engine fulfils the hooks and inherits the tests.

    class TestSqlite(StreamConformance):
        engine_name = "sqlite"
        broken = {"missing": Precondition, "corrupt": None}
        def make_source(self, tmp, *, name="shop", large=False): ...

`EngineConformance` holds for all engines, `StreamConformance` adds what engines with dumps must hold. The fixtures `at`
(the real executor on this host) and `undo` (a real undo list that also records) come from conftest.py; after each test
everything registered there must be gone.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest

from orchestrator.engines import load
from orchestrator.model.engine import DumpEnd, Engine, Facts, Item, Restored, Source
from orchestrator.model.errors import DataDamaged, Precondition, ResguardoError, RestoreFailed
from orchestrator.model.execution import Executor, Finding, KillProcess, Proc, Trailer
from tests.engines.recording import RecordingUndo

HOSTILE = (
    "with space",
    "quo'te\"d",
    "new\nline",
    "-dash",
    "ünï-日本",
    "100%s %41",
    "dbname=x host=evil",
    "$(id);`id`\\",
)
# What is worth its time in every place, such as inside a container; elsewhere than on the host the rest is slow.
HANDFUL = frozenset(
    {
        "test_restores_what_was_taken",
        "test_hostile_names",
        "test_cut_data_restores_nothing",
        "test_killed_producer_is_told",
        "test_dump_under_writes_is_consistent",
    }
)
HANDFUL_OF_LABELS = ("new\nline", "$(id);`id`\\", 0.7)


@dataclass(frozen=True)
class Taken:
    """What taking one item gave. For engines with dumps `data` holds the bytes; otherwise the test's own handle."""

    data: Any
    end: DumpEnd
    trailer: Trailer = field(default_factory=Trailer)


class PipeData:
    """`Data` over a real pipe, fed by a thread: `fd` ends only after finish(); `damaged` makes finish() find bad data.

    With a consumer (which holds its own copy of `fd`) our copy is closed first, so that a consumer that dies early
    stops the feeding instead of blocking it.
    """

    def __init__(self, data: bytes, *, damaged: bool = False) -> None:
        self.fd, self._write = os.pipe()
        self._data = data
        self._damaged = damaged
        self._open = {self.fd, self._write}
        self._thread = threading.Thread(target=self._feed, daemon=True)
        self._thread.start()

    def _feed(self) -> None:
        view = memoryview(self._data)
        try:
            while view:
                view = view[os.write(self._write, view[:65536]) :]
        except BrokenPipeError:
            return

    def finish(self, consumer: Proc | None = None) -> None:
        if consumer is not None:
            self._close(self.fd)
        self._thread.join(60)
        if self._thread.is_alive():
            raise AssertionError("nobody reads the data: the consumer must be started before finish()")
        if self._damaged and consumer is not None:
            consumer.stop()
        self._close(self._write)
        if self._damaged:
            raise DataDamaged("bytes read back differ from the manifest", "restore another point")

    def _close(self, fd: int) -> None:
        if fd in self._open:
            self._open.remove(fd)
            os.close(fd)

    def __enter__(self) -> PipeData:
        return self

    def __exit__(self, *_: object) -> None:
        self._close(self.fd)
        self._thread.join(60)
        self._close(self._write)


def read_all(fd: int) -> bytes:
    """Read a descriptor to its end, leaving it open."""
    chunks = []
    while chunk := os.read(fd, 1 << 16):
        chunks.append(chunk)
    return b"".join(chunks)


def trailer_problem(data: bytes, trailer: Trailer) -> str:
    """Judge bytes by a trailer as the pump does; "" when it holds."""
    if len(data) < trailer.min_bytes:
        return f"{len(data)} bytes, fewer than {trailer.min_bytes}"
    if not data.startswith(trailer.magic):
        return f"begins with {data[: len(trailer.magic)]!r}"
    if trailer.footer not in data[-trailer.tail :]:
        return f"no {trailer.footer!r} in the last {trailer.tail} bytes"
    return ""


def assert_told(error: ResguardoError) -> None:
    """Errors are lowercase, without a full stop, and tell what to do."""
    first = error.message[:1]
    assert first
    assert not first.isupper(), error.message
    assert not error.message.endswith("."), error.message
    if isinstance(error, Precondition):
        assert error.hint, error.message


def errors(findings: object) -> list[Finding]:
    """Only the findings that fail a check."""
    assert isinstance(findings, list | tuple), findings
    return [finding for finding in findings if finding.level == "error"]


class EngineConformance:
    """Holds for every engine. Hooks first, tests after."""

    engine_name: ClassVar[str]
    # Label of a broken source → what probe() must raise; None: only taking it notices.
    broken: ClassVar[Mapping[str, type[ResguardoError] | None]]
    hostile: ClassVar[tuple[str, ...]] = HOSTILE
    # Where its tools run, and which tests run elsewhere than on the host by default; None: all of them.
    places: ClassVar[tuple[str, ...]] = ("host",)
    handful: ClassVar[frozenset[str] | None] = None

    # --- hooks -----------------------------------------------------------------------------------------------------

    def make_source(self, tmp: Path, *, name: str = "shop", large: bool = False) -> AbstractContextManager[Source]:
        """Make a real source called `name` (may be hostile) with varied data; large: its item is over 8 MiB."""
        raise NotImplementedError

    def make_broken(self, label: str, tmp: Path) -> AbstractContextManager[Source]:
        """Make the source that `broken` calls `label`."""
        raise NotImplementedError

    def item_of(self, source: Source) -> Item:
        """Return the item that a probe would list, also for a source that cannot be probed."""
        raise NotImplementedError

    def new_name(self, tmp: Path, name: str) -> str:
        """Return what to pass as `to` or `kept` for a name (a database: the name; a file: its path below tmp)."""
        raise NotImplementedError

    def exists(self, item: Item, name: str) -> bool:
        """Whether a database or path of this (new) name is there."""
        raise NotImplementedError

    def fingerprint(self, item: Item, name: str | None) -> object:
        """Return the whole content by value and type: of the original (None), or of what was restored as `name`."""
        raise NotImplementedError

    def change_original(self, item: Item) -> None:
        """Change the original so that its fingerprint differs."""
        raise NotImplementedError

    def plant_difference(self, item: Item, name: str) -> None:
        """Make what was restored as `name` differ by as little as verify() must notice: one row less."""
        raise NotImplementedError

    def state(self, source: Source) -> object:
        """Return what a look at the source must leave unchanged (files, times, sizes)."""
        raise NotImplementedError

    def take(self, item: Item, at: Executor, undo: RecordingUndo) -> Taken:
        """Store one item as a backup would."""
        raise NotImplementedError

    def bring(self, item: Item, taken: Taken, to: str, at: Executor, undo: RecordingUndo) -> Restored:
        """Restore what was taken as `to`."""
        raise NotImplementedError

    def expected(self, taken: Taken) -> Mapping[str, int]:
        """Return the counts that verify() is given."""
        return taken.end.counts

    # --- helpers ---------------------------------------------------------------------------------------------------

    @property
    def engine(self) -> Engine:
        return load(self.engine_name)

    @pytest.fixture
    def source(self, tmp_path: Path) -> Iterator[Source]:
        with self.make_source(tmp_path) as source:
            yield source

    @pytest.fixture
    def item(self, source: Source, at: Executor, undo: RecordingUndo) -> Item:
        return self.main_item(self.engine.probe(source, at, undo))

    def main_item(self, facts: Facts) -> Item:
        return next(item for item in facts.items if item.role == "data")

    def restored(self, item: Item, at: Executor, undo: RecordingUndo, tmp: Path) -> tuple[Taken, str]:
        """Take an item and bring it back under a new name."""
        taken = self.take(item, at, undo)
        return taken, self.bring(item, taken, self.new_name(tmp, "restored"), at, undo).name

    # --- tests -----------------------------------------------------------------------------------------------------

    def test_registry_knows_it(self) -> None:
        assert self.engine.name == self.engine_name
        assert self.engine.delivers in {"stream", "paths"}

    def test_unknown_options_are_refused(self) -> None:
        with pytest.raises(ValueError, match="no_such_option"):
            self.engine.Options.model_validate({"no_such_option": 1}, context={"directory": "/"})

    def test_probe_lists_items_and_changes_nothing(self, source: Source, at: Executor, undo: RecordingUndo) -> None:
        before = self.state(source)
        facts = self.engine.probe(source, at, undo)
        assert self.state(source) == before
        assert not errors(facts.findings)
        item = self.main_item(facts)
        assert item.source == source
        assert (item.name, item.extension, item.role) == (
            self.item_of(source).name,
            self.item_of(source).extension,
            self.item_of(source).role,
        )

    def test_taking_changes_nothing(self, source: Source, item: Item, at: Executor, undo: RecordingUndo) -> None:
        before = self.state(source)
        content = self.fingerprint(item, None)
        assert self.take(item, at, undo).end.error == ""
        assert self.state(source) == before
        assert self.fingerprint(item, None) == content

    def test_restores_what_was_taken(self, item: Item, at: Executor, undo: RecordingUndo, tmp_path: Path) -> None:
        before = self.fingerprint(item, None)
        taken, name = self.restored(item, at, undo, tmp_path)
        assert self.fingerprint(item, name) == before
        assert self.fingerprint(item, None) == before
        assert not errors(self.engine.verify(item, name, self.expected(taken), at, undo))
        assert self.fingerprint(item, name) == before, "verify changed what was restored"

    def test_verify_finds_a_planted_difference(
        self, item: Item, at: Executor, undo: RecordingUndo, tmp_path: Path
    ) -> None:
        taken, name = self.restored(item, at, undo, tmp_path)
        before = self.fingerprint(item, name)
        self.plant_difference(item, name)
        assert self.fingerprint(item, name) != before, "the fingerprint does not see the planted difference"
        found = errors(self.engine.verify(item, name, self.expected(taken), at, undo))
        assert found

    def test_verify_finds_that_nothing_is_there(
        self, item: Item, at: Executor, undo: RecordingUndo, tmp_path: Path
    ) -> None:
        name = self.new_name(tmp_path, "absent")
        assert errors(self.engine.verify(item, name, {}, at, undo))
        assert not self.exists(item, name)

    def test_hostile_names(self, hostile: str, at: Executor, undo: RecordingUndo, tmp_path: Path) -> None:
        with self.make_source(tmp_path, name=hostile) as source:
            item = self.main_item(self.engine.probe(source, at, undo))
            before = self.fingerprint(item, None)
            taken = self.take(item, at, undo)
            name = self.bring(item, taken, self.new_name(tmp_path, f"{hostile} r"), at, undo).name
            assert self.fingerprint(item, name) == before
            assert not errors(self.engine.verify(item, name, self.expected(taken), at, undo))

    def test_swap_puts_new_in_place_and_keeps_old(
        self, item: Item, at: Executor, undo: RecordingUndo, tmp_path: Path
    ) -> None:
        backed_up = self.fingerprint(item, None)
        _, name = self.restored(item, at, undo, tmp_path)
        self.change_original(item)
        replaced = self.fingerprint(item, None)
        assert replaced != backed_up
        kept = self.engine.swap(item, name, self.new_name(tmp_path, "shop_before_20260102T030405Z"), at, undo)
        assert self.fingerprint(item, None) == backed_up
        assert kept.name is not None
        assert self.fingerprint(item, kept.name) == replaced
        assert not self.exists(item, name)

    def test_swap_without_new_data_changes_nothing(
        self, item: Item, at: Executor, undo: RecordingUndo, tmp_path: Path
    ) -> None:
        before = self.fingerprint(item, None)
        kept = self.new_name(tmp_path, "shop_before_20260102T030405Z")
        with pytest.raises(ResguardoError) as caught:
            self.engine.swap(item, self.new_name(tmp_path, "absent"), kept, at, undo)
        assert_told(caught.value)
        assert self.fingerprint(item, None) == before
        assert not self.exists(item, kept)

    def test_swap_never_replaces_what_was_kept_before(
        self, item: Item, at: Executor, undo: RecordingUndo, tmp_path: Path
    ) -> None:
        taken, first = self.restored(item, at, undo, tmp_path)
        kept = self.engine.swap(item, first, self.new_name(tmp_path, "shop_before_20260102T030405Z"), at, undo)
        assert kept.name is not None
        self.change_original(item)
        before, earlier = self.fingerprint(item, None), self.fingerprint(item, kept.name)
        second = self.bring(item, taken, self.new_name(tmp_path, "second"), at, undo).name
        with pytest.raises(ResguardoError) as caught:
            self.engine.swap(item, second, self.new_name(tmp_path, "shop_before_20260102T030405Z"), at, undo)
        assert_told(caught.value)
        assert self.fingerprint(item, None) == before
        assert self.fingerprint(item, kept.name) == earlier
        assert self.exists(item, second)

    def test_broken_source_is_an_error(self, broken: str, at: Executor, undo: RecordingUndo, tmp_path: Path) -> None:
        with self.make_broken(broken, tmp_path) as source:
            before = self.state(source)
            expected = self.broken[broken]
            if expected is not None:
                with pytest.raises(expected) as caught:
                    self.engine.probe(source, at, undo)
                assert_told(caught.value)
            assert self.take_problem(self.item_of(source), at, undo)
            assert self.state(source) == before

    def take_problem(self, item: Item, at: Executor, undo: RecordingUndo) -> str:
        """Return how taking the item failed, "" when it did not."""
        try:
            return self.take(item, at, undo).end.error
        except ResguardoError as error:
            assert_told(error)
            return error.message


class StreamConformance(EngineConformance):
    """Holds for engines whose items are dumped (delivers == "stream")."""

    # How much of a dump is left of one that is cut.
    share: ClassVar[tuple[float, ...]] = (0.0, 0.0001, 0.3, 0.7, 0.9999)
    # Two dumps of unchanged data are equal byte for byte (they deduplicate whole).
    repeatable: ClassVar[bool] = True

    def write_load(self, item: Item) -> AbstractContextManager[Callable[[], int]]:
        """Write to the source from other processes or threads in transactions that keep an invariant.

        Yields a function that returns how many transactions were committed so far.
        """
        raise NotImplementedError

    def assert_invariant(self, item: Item, name: str) -> None:
        """Assert that the writers' invariant holds in what was restored as `name`."""
        raise NotImplementedError

    def take(self, item: Item, at: Executor, undo: RecordingUndo) -> Taken:
        with self.engine.dump(item, at, undo) as dump:
            data = read_all(dump.fd)
            return Taken(data, dump.finish(), dump.trailer)

    def bring(self, item: Item, taken: Taken, to: str, at: Executor, undo: RecordingUndo) -> Restored:
        with PipeData(taken.data) as data:
            return self.engine.restore(item, data, to, at, undo)

    def lasting(self, data: bytes) -> bytes:
        """Return a dump without what this machine cannot keep the same from one dump to the next; seldom anything."""
        return data

    @contextmanager
    def large_dump(self, at: Executor, undo: RecordingUndo, tmp: Path) -> Iterator[Any]:
        """A dump that is under way: its producer waits for us, since its pipe is full."""
        with self.make_source(tmp, large=True) as source:
            item = self.main_item(self.engine.probe(source, at, undo))
            with self.engine.dump(item, at, undo) as dump:
                assert os.read(dump.fd, 100)
                yield dump

    def test_dump_satisfies_its_trailer(self, item: Item, at: Executor, undo: RecordingUndo) -> None:
        taken = self.take(item, at, undo)
        assert taken.end.error == ""
        assert taken.data
        assert trailer_problem(taken.data, taken.trailer) == ""
        assert taken.end.counts
        assert taken.end.counts_exact
        assert taken.end.as_of is not None
        assert taken.end.as_of.utcoffset() is not None
        assert taken.end.bytes in {None, len(taken.data)}
        assert taken.end.sha256 in {None, hashlib.sha256(taken.data).hexdigest()}

    def test_trailer_refuses_a_cut_dump(self, item: Item, at: Executor, undo: RecordingUndo) -> None:
        taken = self.take(item, at, undo)
        assert trailer_problem(b"", taken.trailer)
        assert trailer_problem(taken.data[:10], taken.trailer)

    def test_unchanged_data_gives_the_same_dump(self, item: Item, at: Executor, undo: RecordingUndo) -> None:
        if not self.repeatable:
            pytest.skip("does not apply: this engine's dumps differ from time to time")
        first, second = (self.take(item, at, undo) for _ in range(2))
        assert self.lasting(first.data) == self.lasting(second.data)
        assert first.end.counts == second.end.counts

    def test_dump_under_writes_is_consistent(
        self, item: Item, at: Executor, undo: RecordingUndo, tmp_path: Path
    ) -> None:
        with self.write_load(item) as committed:
            before = committed()
            taken = self.take(item, at, undo)
            assert committed() > before, "nothing was written during the dump"
        assert taken.end.error == ""
        name = self.bring(item, taken, self.new_name(tmp_path, "restored"), at, undo).name
        self.assert_invariant(item, name)
        assert not errors(self.engine.verify(item, name, taken.end.counts, at, undo)), "counts of another moment"

    def test_restore_refuses_an_existing_target(
        self, item: Item, at: Executor, undo: RecordingUndo, tmp_path: Path
    ) -> None:
        taken, name = self.restored(item, at, undo, tmp_path)
        self.plant_difference(item, name)
        before = self.fingerprint(item, name)
        with PipeData(taken.data) as data, pytest.raises((RestoreFailed, Precondition)) as caught:
            self.engine.restore(item, data, self.new_name(tmp_path, "restored"), at, undo)
        assert_told(caught.value)
        assert self.fingerprint(item, name) == before

    def test_cut_data_restores_nothing(
        self, share: float, item: Item, at: Executor, undo: RecordingUndo, tmp_path: Path
    ) -> None:
        taken = self.take(item, at, undo)
        name = self.new_name(tmp_path, "restored")
        cut = taken.data[: int(len(taken.data) * share)]
        with PipeData(cut, damaged=True) as data, pytest.raises((DataDamaged, RestoreFailed)) as caught:
            self.engine.restore(item, data, name, at, undo)
        assert not self.exists(item, name) or name in str(caught.value), "a part is left and nothing is said"

    def test_dump_stopped_midway_leaves_nothing(self, at: Executor, undo: RecordingUndo, tmp_path: Path) -> None:
        with self.large_dump(at, undo, tmp_path):
            assert undo.living(), "the producer is not registered for undoing"
        undo.assert_clean()

    def test_killed_producer_is_told(self, at: Executor, undo: RecordingUndo, tmp_path: Path) -> None:
        with self.large_dump(at, undo, tmp_path) as dump:
            for process in undo.living():
                os.kill(process.pid, 9)
            read_all(dump.fd)
            assert dump.finish().error

    def test_finish_can_be_asked_again(self, item: Item, at: Executor, undo: RecordingUndo) -> None:
        with self.engine.dump(item, at, undo) as dump:
            read_all(dump.fd)
            assert dump.finish() == dump.finish()

    def test_producers_are_registered_as_dumps(self, item: Item, at: Executor, undo: RecordingUndo) -> None:
        self.take(item, at, undo)
        roles = {action.role for action in undo.actions.values() if isinstance(action, KillProcess)}
        assert roles <= {"dump"}
