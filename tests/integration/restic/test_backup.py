"""Storing paths and streams with the real restic."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from functools import partial
from pathlib import Path

import pytest

from orchestrator.adapters.interrupts import Interrupts
from orchestrator.adapters.launch import launch
from orchestrator.adapters.private import secrets_dir
from orchestrator.adapters.restic import ResticRepository
from orchestrator.adapters.state import StateFolder
from orchestrator.adapters.undo import RunUndo
from orchestrator.model.engine import PathSet
from orchestrator.model.errors import DumpFailed, Interrupted, ParentGone, Precondition, ResguardoError
from tests.conftest import MakeRepository
from tests.integration.restic.common import stored, tags

HOSTILE = (
    b"new\nline",
    b"-dash",
    b'it\'s "quoted"',
    b"#hash",
    b"st*r",
    b"[y]",
    b" lead",
    b"$HOME %d",
    b"bad\xff\xfe",
    b"\xc3\xa9",
)
TRAPS = ("*.json", "*.sql", "cache/", "/dev", "*")


def _folder(path: Path, names: tuple[bytes, ...]) -> Path:
    path.mkdir()
    for name in names:
        with open(os.fsencode(path) + b"/" + name, "wb") as file:
            file.write(b"content of " + name)
    return path


def _tree(path: Path) -> dict[bytes, bytes]:
    found = {}
    for name in os.listdir(os.fsencode(path)):
        with open(os.fsencode(path) + b"/" + name, "rb") as file:
            found[name] = file.read()
    return found


def test_hostile_names_come_back_equal(repository: ResticRepository, undo: RunUndo, tmp_path: Path) -> None:
    source = _folder(tmp_path / "source", HOSTILE)
    end = repository.backup_paths(PathSet((str(source),)), tags(), undo).wait()
    assert (end.files, end.partial, end.unreadable) == (len(HOSTILE), False, ())
    back = repository.restore(end.snapshot, str(tmp_path / "back"), undo, verify=True)
    # restic counts the folders that lead to them as well
    assert (back.files, back.errors) == (len(HOSTILE) + len(source.parents), ())
    assert _tree(Path(f"{tmp_path}/back{source}")) == _tree(source)


def test_hostile_names_may_be_sources_themselves(repository: ResticRepository, undo: RunUndo, tmp_path: Path) -> None:
    source = _folder(tmp_path / "source", HOSTILE)
    paths = tuple(os.fsdecode(os.fsencode(source) + b"/" + name) for name in HOSTILE)
    end = repository.backup_paths(PathSet(paths), tags(), undo).wait()
    assert end.files == len(HOSTILE)
    assert end.bytes == sum(len(name) + len(b"content of ") for name in HOSTILE)


def test_patterns_are_taken_as_they_are(repository: ResticRepository, undo: RunUndo, tmp_path: Path) -> None:
    source = _folder(tmp_path / "source", HOSTILE)
    out = (f"{source}/new\nline", "-dash", "#hash", f"{source}/ lead", f"{source}/$HOME*")
    end = repository.backup_paths(PathSet((str(source),), excludes=out), tags(), undo).wait()
    assert end.files == len(HOSTILE) - len(out)


def test_markers_caches_and_large_files_stay_out(repository: ResticRepository, undo: RunUndo, tmp_path: Path) -> None:
    source = _folder(tmp_path / "source", (b"kept",))
    _folder(source / "marked", (b".nobackup", b"lost"))
    (_folder(source / "tagged", (b"lost",)) / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55")
    (source / "large").write_bytes(b"x" * 2000)
    chosen = PathSet(
        (str(source),),
        exclude_if_present=(".nobackup",),
        exclude_larger_than="1k",
        exclude_caches=True,
        one_file_system=True,
    )
    end = repository.backup_paths(chosen, tags(), undo).wait()
    repository.restore(end.snapshot, str(tmp_path / "back"), undo)
    assert sorted(path.name for path in (tmp_path / "back").rglob("*") if path.is_file()) == [
        ".nobackup",
        "CACHEDIR.TAG",
        "kept",
    ]


def test_excludes_touch_only_their_own_call(repository: ResticRepository, undo: RunUndo, tmp_path: Path) -> None:
    staged = _folder(tmp_path / "cache", (b"shop.main.sql", b"manifest.json"))
    try:
        hit = repository.backup_paths(PathSet((str(staged),), excludes=TRAPS), tags(), undo).wait().files
    except ResguardoError:  # restic may also refuse an empty snapshot
        hit = 0
    assert hit == 0, "the patterns are meant to hit everything"
    end = repository.backup_paths(PathSet((str(staged),)), tags("dumps"), undo).wait()
    assert end.files == 2


def test_an_invalid_pattern_fails(repository: ResticRepository, undo: RunUndo, tmp_path: Path) -> None:
    source = _folder(tmp_path / "source", (b"a",))
    with pytest.raises(ResguardoError, match="invalid pattern"):
        repository.backup_paths(PathSet((str(source),), excludes=("[",)), tags(), undo).wait()


def test_a_missing_path_is_partial_whatever_restic_exits_with(
    repository: ResticRepository, undo: RunUndo, tmp_path: Path
) -> None:
    source = _folder(tmp_path / "source", (b"a",))
    gone = os.fsdecode(os.fsencode(tmp_path) + b"/gone\n\xff")
    end = repository.backup_paths(PathSet((str(source), gone)), tags(), undo).wait()
    assert end.partial
    assert end.unreadable == ((gone, "does not exist"),)
    assert end.files == 1


def test_all_paths_missing_is_a_precondition(repository: ResticRepository, undo: RunUndo, tmp_path: Path) -> None:
    with pytest.raises(Precondition, match="none of the paths"):
        repository.backup_paths(PathSet((str(tmp_path / "gone"),)), tags(), undo).wait()
    assert stored(repository) == []


@pytest.mark.parametrize("paths", [(), ("",), ("a\0b",)])
def test_paths_that_restic_cannot_take_are_refused(
    repository: ResticRepository, undo: RunUndo, paths: tuple[str, ...]
) -> None:
    with pytest.raises(Precondition):
        repository.backup_paths(PathSet(paths), tags(), undo)
    assert repository.processes == 0


def test_an_unreadable_file_is_partial_and_named(repository: ResticRepository, undo: RunUndo, tmp_path: Path) -> None:
    # Reading one's own memory at address 0 is an I/O error for root too.
    source = _folder(tmp_path / "source", (b"a",))
    end = repository.backup_paths(PathSet((str(source), "/proc/self/mem")), tags(), undo).wait()
    assert end.partial
    assert [path for path, _ in end.unreadable] == ["/proc/self/mem"]
    assert "input/output error" in end.unreadable[0][1]
    assert stored(repository) == [end.snapshot], "exit 3 keeps the snapshot, tags and all"


def test_parent_is_used_and_a_vanished_one_is_told(repository: ResticRepository, undo: RunUndo, tmp_path: Path) -> None:
    source = _folder(tmp_path / "source", (b"a", b"b"))
    paths = PathSet((str(source),))
    first = repository.backup_paths(paths, tags("warm"), undo).wait()
    second = repository.backup_paths(paths, tags(), undo, parent=first.snapshot).wait()
    assert (second.files, second.added < first.added) == (2, True)
    repository.forget([first.snapshot], undo)
    with pytest.raises(ParentGone):
        repository.backup_paths(paths, tags(), undo, parent=first.snapshot).wait()
    with pytest.raises(ParentGone):
        repository.backup_paths(paths, tags(), undo, parent="ab" * 32).wait()
    assert repository.backup_paths(paths, tags(), undo).wait().files == 2


def test_progress_ends_with_all_bytes(repository: ResticRepository, undo: RunUndo, tmp_path: Path) -> None:
    source = _folder(tmp_path / "source", (b"a", b"b"))
    seen: list[int] = []
    end = repository.backup_paths(PathSet((str(source),)), tags(), undo, on_bytes=seen.append).wait()
    assert seen
    assert seen[-1] == end.bytes == 24


def test_a_stream_is_stored_under_its_flat_name(repository: ResticRepository, undo: RunUndo) -> None:
    name = "shop.main.%2E.sql"
    writer = [sys.executable, "-I", "-S", "-c", "import os; os.write(1, b'x' * 5000)"]
    end = repository.backup_stream(name, writer, tags("stream"), undo).wait()
    assert (end.bytes, end.files, end.partial) == (5000, 1, False)
    assert repository.read(end.snapshot, f"/{name}", undo, limit=5000) == b"x" * 5000
    with pytest.raises(ValueError, match="flat"):
        repository.backup_stream("pg/main.sql", writer, tags("stream"), undo)


@pytest.mark.parametrize(
    "program",
    [
        ["/bin/sh", "-c", "head -c 5000000 /dev/urandom; exit 1"],
        ["/bin/sh", "-c", "head -c 5000000 /dev/urandom; kill -9 $$"],
        ["/bin/true"],
        ["/nonexistent/program"],
    ],
    ids=["exit 1", "killed", "no data", "not found"],
)
def test_a_bad_stream_leaves_no_lock_and_at_most_an_empty_snapshot(
    repository: ResticRepository, undo: RunUndo, program: list[str]
) -> None:
    with pytest.raises(DumpFailed, match=r"x\.sql was not stored in repository local"):
        repository.backup_stream("x.sql", program, tags("stream"), undo).wait()
    # restic stores an empty stream; no restore point names it, and forgetting is retention's: a commit may be open.
    assert len(stored(repository)) == (program == ["/bin/true"])
    assert stored(repository, "locks") == []


def test_stop_ends_a_stream_without_a_snapshot(repository: ResticRepository, undo: RunUndo, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    running = repository.backup_stream(
        "x.sql", ["/bin/sh", "-c", f"echo > '{ready}'; exec sleep 60"], tags("stream"), undo
    )
    ready.read_bytes()
    assert not running.poll()
    running.stop()
    running.stop()
    assert running.poll()
    with pytest.raises(ResguardoError, match="was stopped"):
        running.wait()
    assert stored(repository) == []


def test_an_interrupted_run_leaves_no_snapshot_no_lock_and_no_secret(
    make_repository: MakeRepository, state: StateFolder, undo: RunUndo, tmp_path: Path
) -> None:
    told = Interrupts()
    settings = make_repository()._settings
    repository = ResticRepository(settings, partial(secrets_dir, state), partial(launch, interrupts=told))
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    running = repository.backup_stream("x", ["/bin/sh", "-c", f"echo > '{fifo}'; exec sleep 60"], tags("stream"), undo)
    fifo.read_bytes()
    told.trigger(signal.SIGTERM)
    with pytest.raises(Interrupted) as caught:
        running.wait()
    assert caught.value.exit_code == 143
    assert (running.poll(), stored(repository), stored(repository, "locks")) == (True, [], [])
    assert os.listdir(state.runtime) == []


def test_a_vanishing_staging_directory_shows_in_the_figures(
    repository: ResticRepository, undo: RunUndo, tmp_path: Path
) -> None:
    staged = _folder(tmp_path / "staged", (b"a", b"b"))
    end = repository.backup_paths(PathSet((str(staged),)), tags("dumps"), undo).wait()
    for file in staged.iterdir():
        file.unlink()
    emptied = repository.backup_paths(PathSet((str(staged),)), tags("dumps"), undo).wait()
    assert (end.files, emptied.files, emptied.bytes) == (2, 0, 0)


def test_only_our_own_environment_reaches_restic_and_its_child(
    repository: ResticRepository, undo: RunUndo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTIC_PASSWORD", "wrong")
    monkeypatch.setenv("RESTIC_COMPRESSION", "nonsense")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "inherited-canary")
    end = repository.backup_stream("env", ["/usr/bin/env"], tags("stream"), undo).wait()
    names = {line.split(b"=")[0] for line in repository.read(end.snapshot, "/env", undo, limit=100_000).split(b"\n")}
    assert {b"RESTIC_PASSWORD_FILE", b"RESTIC_REPOSITORY_FILE", b"RESTIC_CACHE_DIR", b"TMPDIR"} <= names
    assert not names & {b"RESTIC_PASSWORD", b"RESTIC_COMPRESSION", b"AWS_SECRET_ACCESS_KEY"}


def test_low_priority_reaches_restic(make_repository: MakeRepository, undo: RunUndo) -> None:
    if not (shutil.which("nice") and shutil.which("ionice")):
        pytest.skip("impossible here: there is no nice or no ionice")
    slow = make_repository(nice=7, ionice="idle", upload=50_000, download=50_000, compression="off")
    end = slow.backup_stream("nice", ["/bin/sh", "-c", "nice; ionice"], tags("stream"), undo).wait()
    assert slow.read(end.snapshot, "/nice", undo, limit=100).split() == [str(min(os.nice(0) + 7, 19)).encode(), b"idle"]
