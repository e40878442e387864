"""Bytes on their way back: restore, dump, small files, and damage that must be seen."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.adapters.launch import memory_file
from orchestrator.adapters.restic import ResticRepository
from orchestrator.adapters.undo import RunUndo
from orchestrator.model.engine import PathSet
from orchestrator.model.errors import DataDamaged, ResguardoError, RestoreFailed
from orchestrator.model.repository import BackupEnd
from tests.integration.restic.common import tags


@pytest.fixture
def stored(repository: ResticRepository, undo: RunUndo, tmp_path: Path) -> BackupEnd:
    """A snapshot of two files; one is large enough for packs of its own."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "small").write_bytes(b"small\n")
    (tmp_path / "source" / "large").write_bytes(os.urandom(5_000_000))
    return repository.backup_paths(PathSet((str(tmp_path / "source"),)), tags(), undo).wait()


def _damage(repository: ResticRepository) -> None:
    """Cut the largest pack and put other bytes into its middle."""
    packs = [path for path in Path(str(repository.local_path()), "data").rglob("*") if path.is_file()]
    largest = max(packs, key=lambda path: path.stat().st_size)
    largest.chmod(0o600)
    with largest.open("r+b") as file:
        file.seek(largest.stat().st_size // 2)
        file.write(b"damaged" * 1000)


def test_dump_to_a_descriptor_and_read(
    repository: ResticRepository, undo: RunUndo, stored: BackupEnd, tmp_path: Path
) -> None:
    large = tmp_path / "source" / "large"
    fd = memory_file()
    try:
        repository.dump(stored.snapshot, str(large), fd, undo).wait()
        assert os.pread(fd, 6_000_000, 0) == large.read_bytes()
    finally:
        os.close(fd)
    small = str(tmp_path / "source" / "small")
    assert repository.read(stored.snapshot, small, undo, limit=6) == b"small\n"
    with pytest.raises(DataDamaged, match="longer than 5 bytes"):
        repository.read(stored.snapshot, small, undo, limit=5)
    with pytest.raises(DataDamaged, match="longer than 1000 bytes"):
        repository.read(stored.snapshot, str(large), undo, limit=1000)
    with pytest.raises(DataDamaged, match="not found"):
        repository.read(stored.snapshot, "/none", undo, limit=10)
    with pytest.raises(DataDamaged, match="no matching ID"):
        repository.read("abababab", "/none", undo, limit=10)


def test_a_reader_that_goes_away_ends_the_dump(
    repository: ResticRepository, undo: RunUndo, stored: BackupEnd, tmp_path: Path
) -> None:
    read, write = os.pipe()
    running = repository.dump(stored.snapshot, str(tmp_path / "source" / "large"), write, undo)
    os.close(write)
    assert os.read(read, 1)
    os.close(read)
    with pytest.raises(ResguardoError):
        running.wait()
    running.stop()


def test_restore_writes_what_was_asked(
    repository: ResticRepository, undo: RunUndo, stored: BackupEnd, tmp_path: Path
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    end = repository.restore(stored.snapshot, str(target), undo, exclude=["large"])
    # restic counts the folders that lead to it as well
    assert (end.files, end.bytes, end.errors) == (1 + len(source.parents), 6, ())
    assert os.listdir(f"{target}{source}") == ["small"]
    end = repository.restore(stored.snapshot, str(tmp_path / "two"), undo, include=[f"{source}/large"])
    assert os.listdir(f"{tmp_path}/two{source}") == ["large"]
    nothing = repository.restore(stored.snapshot, str(tmp_path / "three"), undo, include=["/none"])
    assert nothing.files == 0, "restic exits 0: the caller must compare"


def test_restore_of_no_snapshot_fails(repository: ResticRepository, undo: RunUndo, tmp_path: Path) -> None:
    with pytest.raises(RestoreFailed, match="restic restore failed on repository local"):
        repository.restore("abababab", str(tmp_path / "target"), undo)


def test_damage_is_seen_by_every_reader(
    repository: ResticRepository, undo: RunUndo, stored: BackupEnd, tmp_path: Path
) -> None:
    assert repository.check(undo, data="all").errors == ()
    _damage(repository)
    large = str(tmp_path / "source" / "large")
    with pytest.raises(DataDamaged, match="resguardo verify"):
        repository.read(stored.snapshot, large, undo, limit=6_000_000)
    end = repository.restore(stored.snapshot, str(tmp_path / "target"), undo)
    assert {path for path, _ in end.errors} == {large}  # 0.19 may tell it once for each damaged blob
    assert repository.check(undo, data="all").errors
    assert repository.check(undo).errors == (), "structure alone does not show a flipped byte"


def test_check_takes_shares(repository: ResticRepository, undo: RunUndo, stored: BackupEnd) -> None:
    assert stored.files == 2
    for share in ("50%", "1/2"):
        assert repository.check(undo, data=share).errors == ()
    with pytest.raises(ResguardoError, match="restic check failed"):
        repository.check(undo, data="nonsense")
