"""The engine files: the conformance suite with a real restic, and what is its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from orchestrator.adapters.state import StateFolder
from orchestrator.adapters.undo import reconcile
from orchestrator.engines._patterns import is_excluded
from orchestrator.engines.files import FilesEngine, Options
from orchestrator.model.engine import DumpEnd, Item, Restored, Source
from orchestrator.model.errors import Precondition, ResguardoError, RestoreFailed, RightsMissing
from orchestrator.model.execution import Executor
from orchestrator.model.secret import Secret
from tests.engines.conformance import EngineConformance, Taken, errors
from tests.engines.nobody import as_nobody
from tests.engines.recording import RecordingUndo
from tests.restics import RESTIC_VERSIONS, restic_of
from tests.weak_key import weaken

ENGINE = FilesEngine()
PATTERNS = (
    "data",
    "d?ta",
    "[a-d]ata",
    "[^a-c]ata",
    "live/data",
    "/live/data",
    "/**/data",
    "/**/live/**/file",
    "**/live",
    "da",
    "*.db",
    "data/*",
    "data/**/file",
    "live/*/file",
    "{data}",
    "d\\ata",
    "./data/",
)
SWAP = """
import sys
from orchestrator.engines.files import ENGINE, Options
from orchestrator.model.engine import Item, Source
tmp, to = sys.argv[1:]
options = Options(paths=[f"{tmp}/a", f"{tmp}/b"])
source = Source("shop", "files", "files", "default", 60.0, options, None)
ENGINE.swap(Item(source, "files", ""), to, f"{tmp}/a_before_X", None, None)
"""
STEPS = """
import os, sys
from contextlib import ExitStack
from orchestrator.adapters.state import StateFolder
from orchestrator.adapters.undo import RunUndo
from orchestrator.engines._common import _move_in_steps
from orchestrator.model.execution import RemovePath
policy, tmp, to = sys.argv[1:]
undo = RunUndo(StateFolder(policy), "20240229T010203Z-00000a", also=[tmp + "/.a.restoring"])
undo.register(RemovePath(to))
_move_in_steps(to, tmp + "/a", tmp + "/a_before_X", ExitStack(), undo)
"""
WRONG: tuple[Mapping[str, object], ...] = (
    {"exclude": ["["]},
    {"exclude": [""]},
    {"exclude_if_present": ["a/b"]},
    {"exclude_larger_than": "big"},
    {"paths": []},
    {"paths": ["~/x"]},
)


def restic(repository: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(repository), "LC_ALL": "C.UTF-8"}
    argv = [restic_of(RESTIC_VERSIONS[-1]), "--insecure-no-password", "--no-cache", "-r", str(repository), *arguments]
    return subprocess.run(argv, env=environment, capture_output=True, check=check, timeout=60)


@pytest.fixture(scope="session")
def initialised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("restic") / "repository"
    restic(path, "init")
    weaken(path, "")
    return path


def options_of(*paths: Path | str, **more: object) -> Options:
    return Options.model_validate({"paths": [str(path) for path in paths], **more}, context={"directory": "/"})


def no_secret(_: object) -> Secret:
    raise AssertionError("files have no secrets")


def source_of(*paths: Path | str, **more: object) -> Source:
    return Source("shop", "files", "files", "default", 60.0, options_of(*paths, **more), no_secret)


def fill(folder: Path) -> None:
    """Make a tree with one of everything that a backup must bring back."""
    (folder / "sub dir" / "deep").mkdir(parents=True)
    (folder / "empty").mkdir(mode=0o700)
    (folder / "plain.txt").write_text("plain")
    (folder / "zero").touch()
    (folder / "secret").write_bytes(b"\0" * 70_000)
    (folder / "secret").chmod(0o600)
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o750)
    (folder / "sub dir" / "new\nline 'and' \"quotes\" %41 -x").write_text("hostile")
    (folder / "sub dir" / "-rf").write_text("dash")
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9")).write_text("not UTF-8")
    (folder / "sub dir" / "hard").hardlink_to(folder / "plain.txt")
    (folder / "link").symlink_to("sub dir/deep")
    (folder / "dangling").symlink_to("nowhere\n")
    os.mkfifo(folder / "fifo")
    with (folder / "sparse").open("wb") as file:
        file.truncate(300_000)
    os.utime(folder / "plain.txt", ns=(1_000_000_000_123_456_789, 1_100_000_000_987_654_321))


def tree(path: str) -> object:
    """Everything below a path by name, kind, content and attributes."""
    found: dict[str, object] = {}
    left = [path]
    while left:
        here = left.pop()
        status = os.lstat(here)
        kind: Any = stat.S_IFMT(status.st_mode)
        content: object = None
        if stat.S_ISREG(status.st_mode):
            content = Path(here).read_bytes()
        elif stat.S_ISLNK(status.st_mode):
            content = os.readlink(here)
        elif stat.S_ISDIR(status.st_mode):
            left += [os.path.join(here, name) for name in os.listdir(here)]
        name = os.path.relpath(here, path)
        owner = (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode), status.st_nlink)
        found[name] = (kind, content, owner, status.st_mtime_ns)
    return found


def times(folder: Path) -> object:
    """What a look may not change."""
    return {
        str(path): (path.lstat().st_size, path.lstat().st_mtime_ns, path.lstat().st_ino) for path in folder.rglob("*")
    }


class TestFiles(EngineConformance):
    engine_name = "files"
    broken: ClassVar[Mapping[str, type[ResguardoError] | None]] = {
        "missing": Precondition,
        "below a file": Precondition,
        "link": Precondition,
        "dangling link": Precondition,
        "fifo": Precondition,
        "socket": Precondition,
        "device": Precondition,
        "excluded": Precondition,
        "folder above excluded": Precondition,
        "marked": Precondition,
        "cache": Precondition,
        "too large": Precondition,
        "both": Precondition,
    }

    @pytest.fixture(autouse=True)
    def _repository(self, initialised: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
        self.repository = tmp_path_factory.mktemp("repository") / "r"
        shutil.copytree(initialised, self.repository)

    @contextmanager
    def make_source(self, tmp: Path, *, name: str = "shop", large: bool = False) -> Iterator[Source]:
        folder = tmp / "live" / name
        folder.mkdir(parents=True)
        fill(folder)
        yield source_of(folder)

    @contextmanager
    def make_broken(self, label: str, tmp: Path) -> Iterator[Source]:
        folder = tmp / "live"
        folder.mkdir()
        (folder / "file").write_text("some text")
        (folder / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55\n")
        os.mkfifo(folder / "fifo")
        (folder / "link").symlink_to("file")
        (folder / "dangling").symlink_to("nowhere")
        with socket.socket(socket.AF_UNIX) as bound:
            here = os.open(folder, os.O_RDONLY)
            bound.bind(f"/proc/self/fd/{here}/socket")
            os.close(here)
        yield _broken[label](folder)

    def item_of(self, source: Source) -> Item:
        return Item(source, "files", "")

    def new_name(self, tmp: Path, name: str) -> str:
        return str(tmp / "live" / name)

    def exists(self, item: Item, name: str) -> bool:
        return os.path.lexists(name)

    def fingerprint(self, item: Item, name: str | None) -> object:
        path = item.source.options.paths[0]
        if name is None:
            return tree(path)
        return tree(name + path if os.path.lexists(name + path) else name)

    def change_original(self, item: Item) -> None:
        (Path(item.source.options.paths[0]) / "plain.txt").write_text("changed")

    def plant_difference(self, item: Item, name: str) -> None:
        os.unlink(name + item.source.options.paths[0] + "/zero")

    def state(self, source: Source) -> object:
        return times(Path(source.options.paths[0]).parent)

    def take(self, item: Item, at: Executor, undo: RecordingUndo) -> Taken:
        paths = ENGINE.paths(item)
        arguments = [f"--exclude={pattern}" for pattern in paths.excludes]
        ran = restic(self.repository, "backup", "--json", *arguments, "--", *paths.paths, check=False)
        summary = json.loads(ran.stdout.splitlines()[-1]) if ran.returncode in (0, 3) else {}
        counts = {"files": summary.get("total_files_processed", 0), "bytes": summary.get("total_bytes_processed", 0)}
        error = "" if ran.returncode == 0 else f"exit code {ran.returncode} {ran.stderr.decode()}"
        return Taken(summary.get("snapshot_id"), DumpEnd(error=error, counts=counts, counts_exact=True))

    def bring(self, item: Item, taken: Taken, to: str, at: Executor, undo: RecordingUndo) -> Restored:
        restic(self.repository, "restore", taken.data, "--target", to)
        return Restored(to)

    # --- files' own ------------------------------------------------------------------------------------------------

    def test_delivers_paths_with_the_users_excludes(self, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir()
        source = source_of(
            tmp_path / "a",
            tmp_path / "a",
            exclude=["*.log", "!keep.log"],
            exclude_if_present=[".nobackup", "TAG:header"],
            exclude_larger_than="10MiB",
            exclude_caches=True,
            one_file_system=True,
        )
        paths = ENGINE.paths(self.item_of(source))
        assert paths.paths == (str(tmp_path / "a"),)
        assert paths.excludes == ("*.log", "!keep.log")
        assert paths.exclude_if_present == (".nobackup", "TAG:header")
        assert (paths.exclude_larger_than, paths.exclude_caches, paths.one_file_system) == ("10485760", True, True)

    def test_notes_nested_repeated_and_empty_paths(self, at: Executor, undo: RecordingUndo, tmp_path: Path) -> None:
        (tmp_path / "a" / "b").mkdir(parents=True)
        facts = ENGINE.probe(source_of(tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a"), at, undo)
        said = [(finding.level, finding.message.partition(": ")[2]) for finding in facts.findings]
        assert ("info", "lies in another path of the same source") in said
        assert ("info", "is named more than once") in said
        assert ("warning", "is empty") in said

    def test_link_is_refused_with_its_target(self, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to("real")
        with pytest.raises(Precondition, match="only the link would be stored") as caught:
            ENGINE.paths(self.item_of(source_of(tmp_path / "link")))
        assert caught.value.hint == f"give its target: '{tmp_path}/real'"

    def test_every_wrong_path_is_named(self, at: Executor, undo: RecordingUndo, tmp_path: Path) -> None:
        with pytest.raises(Precondition) as caught:
            ENGINE.probe(source_of(tmp_path / "one", tmp_path / "two\n"), at, undo)
        assert "one'" in caught.value.message
        assert "two\\n'" in caught.value.message

    def test_a_wrong_path_does_not_stop_the_others(self, at: Executor, undo: RecordingUndo, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "b").mkdir()
        (tmp_path / "link").symlink_to("a")
        source = source_of(tmp_path / "a", tmp_path / "a" / ".env", tmp_path / "link", tmp_path / "b")
        (item,) = ENGINE.probe(source, at, undo).items
        paths = ENGINE.paths(item)
        assert paths.paths == (str(tmp_path / "a"), str(tmp_path / "b"))
        missing, link = paths.lacking
        assert (missing.level, missing.message) == ("error", f"'{tmp_path}/a/.env': no such file or directory")
        assert missing.hint
        assert "link" in link.message

    @pytest.mark.parametrize("wrong", WRONG)
    def test_wrong_options_are_refused(self, wrong: Mapping[str, object]) -> None:
        with pytest.raises(ValidationError):
            Options.model_validate({"paths": ["/srv"], **wrong}, context={"directory": "/"})

    def test_verify_of_a_source_that_is_not_configured_any_more(
        self, item: Item, at: Executor, undo: RecordingUndo, tmp_path: Path
    ) -> None:
        taken, name = self.restored(item, at, undo, tmp_path)
        gone = Item(Source("shop", "files", "files", "default", 0.0, None, no_secret), "files", "")
        assert not errors(ENGINE.verify(gone, name, taken.end.counts, at, undo))
        assert errors(ENGINE.verify(gone, name, {"files": taken.end.counts["files"] + 1}, at, undo))
        assert errors(ENGINE.verify(gone, name, {"bytes": taken.end.counts["bytes"] - 1}, at, undo))

    def test_verify_misses_a_path(self, at: Executor, undo: RecordingUndo, tmp_path: Path) -> None:
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
        (tmp_path / "to" / str(tmp_path / "a").lstrip("/")).mkdir(parents=True)
        found = errors(
            ENGINE.verify(self.item_of(source_of(tmp_path / "a", tmp_path / "b")), str(tmp_path / "to"), {}, at, undo)
        )
        assert [finding.message for finding in found] == [
            f"{str(tmp_path / 'to') + str(tmp_path / 'b')!r}: was not restored"
        ]

    def test_path_that_services_yml_did_not_name_then_is_no_fault(
        self, at: Executor, undo: RecordingUndo, tmp_path: Path
    ) -> None:
        source, to = self._two(tmp_path)
        item = self.item_of(source_of(*source.options.paths, tmp_path / "younger"))
        (note,) = ENGINE.verify(item, str(to), {"files": 2}, at, undo)
        assert (note.level, "younger' is not in the restore point" in note.message) == ("warning", True)
        assert errors(ENGINE.verify(item, str(to), {"files": 3}, at, undo))
        with pytest.raises(RestoreFailed, match="younger': is not in the restore point"):
            ENGINE.swap(item, str(to), f"{tmp_path}/a_before_X", at, undo)
        assert (tmp_path / "a" / "who").read_text() == "old a"

    def test_swap_of_several_paths(self, at: Executor, undo: RecordingUndo, tmp_path: Path) -> None:
        source, to = self._two(tmp_path)
        (tmp_path / "b").rename(tmp_path / "lost")
        kept = ENGINE.swap(self.item_of(source), str(to), f"{tmp_path}/a_before_X", at, undo)
        assert kept.name == f"{tmp_path}/a_before_X"
        assert (tmp_path / "a" / "who").read_text() == "new a"
        assert (tmp_path / "b" / "who").read_text() == "new b"
        assert (tmp_path / "a_before_X" / "who").read_text() == "old a"
        assert not to.exists()

    def test_swap_takes_back_what_it_did(self, at: Executor, undo: RecordingUndo, tmp_path: Path) -> None:
        long = "b" * 250  # its kept name is longer than a name may be
        source, to = self._two(tmp_path, long)
        with pytest.raises(RestoreFailed, match="put back"):
            ENGINE.swap(self.item_of(source), str(to), f"{tmp_path}/a_before_X", at, undo)
        for name in ("a", long):
            assert (tmp_path / name / "who").read_text() == f"old {name}"
            assert Path(f"{to}{tmp_path}/{name}/who").read_text() == f"new {name}"
        assert not (tmp_path / "a_before_X").exists()

    def test_killed_between_two_renames(self, tmp_path: Path) -> None:
        """Where names cannot be exchanged in one step the original gets its name back, before anything is removed."""
        policy, to = str(tmp_path / "policy.yml"), tmp_path / ".a.restoring-x"
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "who").write_text("old")
        to.mkdir()
        environment = {"RESGUARDO_FAILPOINT": "restore.parted", "RESGUARDO_STATE": str(tmp_path / "state")}
        ran = subprocess.run(
            [sys.executable, "-c", STEPS, policy, str(tmp_path), str(to)],
            env=environment,
            check=False,
            capture_output=True,
            text=True,
        )
        assert ran.returncode == -signal.SIGKILL, ran.stderr
        (dead,) = reconcile(StateFolder(policy, environment))
        assert dead.problems == ()
        assert (tmp_path / "a" / "who").read_text() == "old"
        assert not to.exists()
        assert not (tmp_path / "a_before_X").exists()

    @pytest.mark.root
    def test_what_is_mounted_inside_hinders_a_swap(self, at: Executor, undo: RecordingUndo, tmp_path: Path) -> None:
        source, to = self._two(tmp_path)
        inside = tmp_path / "b" / "my mount"
        inside.mkdir()
        ran = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(inside)], check=False, capture_output=True)
        if ran.returncode:
            pytest.skip("impossible here: mounting is not allowed")
        try:
            (found,) = errors(ENGINE.original(self.item_of(source), at).findings)
            assert f"{str(inside)!r} is mounted in it" in found.message
            assert found.hint is not None
            with pytest.raises(Precondition, match="is mounted in it"):
                ENGINE.swap(self.item_of(source), str(to), f"{tmp_path}/a_before_X", at, undo)
            assert (tmp_path / "a" / "who").read_text() == "old a"
        finally:
            subprocess.run(["umount", str(inside)], check=True)

    @pytest.mark.parametrize("point", ["restore.aside:1", "restore.exchanged:1", "restore.exchanged:2"])
    def test_killed_in_a_swap(self, point: str, tmp_path: Path) -> None:
        """The sentinel then removes `to`: the old trees must not stand below it, at no moment."""
        _, to = self._two(tmp_path)
        ran = subprocess.run(
            [sys.executable, "-c", SWAP, str(tmp_path), str(to)],
            env={"RESGUARDO_FAILPOINT": point},
            check=False,
            capture_output=True,
            text=True,
        )
        assert ran.returncode == -signal.SIGKILL, ran.stderr
        shutil.rmtree(to)
        for name in ("a", "b"):
            places = [tmp_path / name, tmp_path / f"{name}_before_X"]
            held = [(place / "who").read_text() for place in places if place.exists()]
            assert f"old {name}" in held
            assert (tmp_path / name).exists()

    @pytest.mark.root
    def test_swap_refuses_a_mount_point_before_anything(
        self, at: Executor, undo: RecordingUndo, tmp_path: Path
    ) -> None:
        source, to = self._two(tmp_path)
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "tmpfs", str(tmp_path / "b")], check=False, capture_output=True
        )
        if mounted.returncode:
            pytest.skip("impossible here: mounting is not allowed")
        try:
            with pytest.raises(Precondition, match="mount point"):
                ENGINE.swap(self.item_of(source), str(to), f"{tmp_path}/a_before_X", at, undo)
            assert (tmp_path / "a" / "who").read_text() == "old a"
        finally:
            subprocess.run(["umount", str(tmp_path / "b")], check=True)

    @pytest.mark.root
    def test_file_systems_are_looked_at_before_a_swap(self, at: Executor, tmp_path: Path) -> None:
        mounted = tmp_path / "mounted"
        mounted.mkdir()
        ran = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(mounted)], check=False, capture_output=True)
        if ran.returncode:
            pytest.skip("impossible here: mounting is not allowed")
        try:
            for path, said in ((mounted / "b", "another file system than"), (mounted, "is a mount point")):
                (found,) = errors(ENGINE.original(self.item_of(source_of(tmp_path / "a", path)), at).findings)
                assert said in found.message
                assert found.hint is not None
            assert not ENGINE.original(self.item_of(source_of(mounted / "a", mounted / "b")), at).findings
        finally:
            subprocess.run(["umount", str(mounted)], check=True)

    def test_folders_that_a_swap_needs(self, at: Executor, tmp_path: Path) -> None:
        beside = ENGINE.original(self.item_of(source_of(tmp_path / "new" / "a", tmp_path / "new" / "b")), at)
        assert not beside.findings  # the restore makes the first one's
        (found,) = ENGINE.original(self.item_of(source_of(tmp_path / "a", tmp_path / "new" / "b")), at).findings
        assert (found.level, "no such directory" in found.message) == ("error", True)

    def test_the_restored_tree_lies_in_no_path_that_is_swapped(self, tmp_path: Path) -> None:
        source = source_of(tmp_path / "a" / "inside", tmp_path / "a")
        assert list(ENGINE.originals(source).values()) == [str(tmp_path / "a")]

    def test_what_was_excluded_is_told_before_and_after(
        self, at: Executor, undo: RecordingUndo, tmp_path: Path
    ) -> None:
        source, to = self._two(tmp_path)
        old = tmp_path / "a"
        for name in ("cache/deep/x", "cache/y", "it's.log", "sub/z.log", "tagged/CACHEDIR.TAG", "tagged/blob", "young"):
            (old / name).parent.mkdir(exist_ok=True, parents=True)
            (old / name).write_text("Signature: 8a477f597d28d172789f06886806bc55")
        for name in ("sub", "tagged"):
            Path(f"{to}{old}/{name}").mkdir()
        given = source.options.model_dump() | {"exclude": ["cache", f"{old}/*.log", "z.log"], "exclude_caches": True}
        item = self.item_of(source_of(*given.pop("paths"), **given))

        before = ENGINE.original(item, at)
        assert before.there
        (note,) = before.findings
        assert note.message == (
            f"{str(old)!r}: 4 entries excluded from backups will be in the kept copy alone: "
            "'cache', \"it's.log\", 'sub/z.log', 'tagged'"
        )
        kept = ENGINE.swap(item, str(to), f"{tmp_path}/a_before_X", at, undo)
        excluded, newer = kept.findings
        assert "5 entries excluded" in excluded.message
        assert "1 entry more is in the kept copy" in newer.message
        assert excluded.hint is not None
        subprocess.run(["sh", "-ec", excluded.hint], check=True)
        assert (old / "cache" / "deep" / "x").exists()
        assert (old / "it's.log").exists()
        assert (old / "sub" / "z.log").exists()
        assert not (old / "young").exists()

    def test_nothing_there_is_nothing_to_tell(self, at: Executor, tmp_path: Path) -> None:
        original = ENGINE.original(self.item_of(source_of(tmp_path / "lost")), at)
        assert (original.there, original.findings) == (False, ())

    def test_many_excluded_entries_are_counted(self, at: Executor, undo: RecordingUndo, tmp_path: Path) -> None:
        source, to = self._two(tmp_path)
        for number in range(9):
            (tmp_path / "a" / f"{number}.log").touch()
        item = self.item_of(source_of(*source.options.paths, exclude=["*.log"]))
        (note,) = ENGINE.swap(item, str(to), f"{tmp_path}/a_before_X", at, undo).findings
        assert "9 entries" in note.message
        assert "and 4 more" in note.message
        assert note.hint is not None
        assert note.hint.startswith(f"cp -an {tmp_path}/a_before_X/. {tmp_path}/a/ ")

    def _two(self, tmp: Path, second: str = "b") -> tuple[Source, Path]:
        to = tmp / ".a.restoring"
        for name in ("a", second):
            (tmp / name).mkdir()
            (tmp / name / "who").write_text(f"old {name}")
            Path(f"{to}{tmp}/{name}").mkdir(parents=True)
            Path(f"{to}{tmp}/{name}/who").write_text(f"new {name}")
        return source_of(tmp / "a", tmp / second), to

    @pytest.mark.root
    def test_path_that_may_not_be_read(self, tmp_path: Path) -> None:
        os.chmod(tmp_path, 0o700)
        for path in (tmp_path, tmp_path / "inside"):
            said = as_nobody(lambda path=path: ENGINE.paths(self.item_of(source_of(path))))
            assert said.startswith(f"{RightsMissing.__name__}: {str(path)!r}: ")
            assert "HINT: run as root" in said

    @pytest.mark.parametrize("pattern", PATTERNS)
    def test_excludes_are_judged_as_restic_does(self, pattern: str, tmp_path: Path) -> None:
        file = tmp_path / "live" / "data" / "file"
        file.parent.mkdir(parents=True)
        file.write_text("x")
        ran = restic(self.repository, "backup", "--dry-run", "--json", f"--exclude={pattern}", "--", str(file.parent))
        stored = json.loads(ran.stdout.splitlines()[-1])["total_files_processed"]
        assert (is_excluded(str(file), [pattern]) is None) == (stored == 1)


_broken: dict[str, Callable[[Path], Source]] = {
    "missing": lambda folder: source_of(folder / "missing"),
    "below a file": lambda folder: source_of(folder / "file" / "x"),
    "link": lambda folder: source_of(folder / "link"),
    "dangling link": lambda folder: source_of(folder / "dangling"),
    "fifo": lambda folder: source_of(folder / "fifo"),
    "socket": lambda folder: source_of(folder / "socket"),
    "device": lambda folder: source_of("/dev/null"),
    "excluded": lambda folder: source_of(folder, exclude=["*.log", "liv?"]),
    "folder above excluded": lambda folder: source_of(folder, exclude=[str(folder.parent)]),
    "marked": lambda folder: source_of(folder, exclude_if_present=["file:some"]),
    "cache": lambda folder: source_of(folder, exclude_caches=True),
    "too large": lambda folder: source_of(folder / "file", exclude_larger_than="1B"),
    "both": lambda folder: source_of(folder / "missing", folder / "link"),
}
