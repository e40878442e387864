"""The version gate and its memory; restic is played by small programs of our own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.adapters.restic import version
from orchestrator.model.errors import ToolMissing


def _program(path: Path, says: str, *, fails: bool = False) -> str:
    """Write a program that notes each start beside itself."""
    end = "exit 1" if fails else ""
    path.write_text(f"#!/bin/sh\necho start >> '{path}.starts'\necho '{says}'\n{end}\n")
    path.chmod(0o755)
    return str(path)


def _starts(program: str) -> int:
    return len(Path(f"{program}.starts").read_text().splitlines())


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        ("restic 0.18.0 compiled with go1.24 on linux/amd64", "0.18.0"),
        ("restic 0.19.1 compiled with go1.26", "0.19.1"),
        ("restic 1.0 compiled", "1.0"),
        ("restic 0.20.0-dev (compiled manually) compiled", "0.20.0-dev"),
    ],
)
def test_new_enough(tmp_path: Path, says: str, expected: str) -> None:
    program = _program(tmp_path / "restic", says)
    cache = str(tmp_path / "cache")
    assert [version.ensure(program, cache), version.ensure(program, cache)] == [expected, expected]
    assert _starts(program) == 1


def test_another_binary_is_asked_again(tmp_path: Path) -> None:
    cache = str(tmp_path / "cache")
    program = _program(tmp_path / "restic", "restic 0.18.0 compiled")
    assert version.ensure(program, cache) == "0.18.0"
    os.utime(program, ns=(1, 1))
    assert version.ensure(program, cache) == "0.18.0"
    assert _starts(program) == 2
    _program(tmp_path / "restic", "restic 0.19.1 compiled")
    assert version.ensure(program, cache) == "0.19.1"


@pytest.mark.parametrize("says", ["restic 0.17.3 compiled", "restic 0.14.0 compiled", "borg 1.2", ""])
def test_too_old_or_not_restic(tmp_path: Path, says: str) -> None:
    with pytest.raises(ToolMissing) as caught:
        version.ensure(_program(tmp_path / "restic", says), str(tmp_path / "cache"))
    assert caught.value.hint == "install restic 0.18 or newer and set restic.path, or put it on PATH"


def test_absent_or_broken(tmp_path: Path) -> None:
    with pytest.raises(ToolMissing, match="restic is not there"):
        version.ensure(str(tmp_path / "none"), str(tmp_path))
    with pytest.raises(ToolMissing, match="does not run"):
        version.ensure(_program(tmp_path / "restic", "restic 0.18.0", fails=True), str(tmp_path))


def test_an_unreadable_memory_is_no_failure(tmp_path: Path) -> None:
    program = _program(tmp_path / "restic", "restic 0.18.0 compiled")
    cache = tmp_path / "cache"
    cache.mkdir()
    for odd in ("", "{", "[]", '{"identity": 1}', '{"identity": [], "version": ""}'):
        (cache / "restic-version.json").write_text(odd)
        assert version.ensure(program, str(cache)) == "0.18.0"
    (tmp_path / "file").write_text("")
    assert version.ensure(program, str(tmp_path / "file" / "cache")) == "0.18.0"
