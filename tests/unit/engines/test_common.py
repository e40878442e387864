"""Counts, patterns and exchanging paths."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.engines._common import compare, exchange, users_of
from orchestrator.engines._patterns import is_excluded


def test_compare_names_what_differs() -> None:
    said = [finding.message for finding in compare({"a": 1, "b": 2, "new": 0}, {"a": 1, "b": 3, "gone": 4}, "db")]
    assert said == [
        "'db': 'b' holds 2, 3 was stored",
        "'db': 'gone' holds nothing, 4 was stored",
        "'db': 'new' holds 0, nothing was stored",
    ]


def test_compare_with_nothing_expected_or_all_equal() -> None:
    assert compare({"a": 1}, {}, "db") == ()
    assert compare({"a": 1}, {"a": 1}, "db") == ()


def test_exchange(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("1")
    (tmp_path / "two").mkdir()
    assert exchange(str(tmp_path / "one"), str(tmp_path / "two"))
    assert (tmp_path / "one").is_dir()
    assert (tmp_path / "two").read_text() == "1"
    with pytest.raises(FileNotFoundError):
        exchange(str(tmp_path / "one"), str(tmp_path / "missing"))


def test_users_of_an_open_file(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file:
        status = os.fstat(file.fileno())
        wanted = {(status.st_dev, status.st_ino)}
        assert [user.endswith(f"({os.getpid()})") for user in users_of(wanted)] == [True]
    assert users_of(wanted) == []


@pytest.mark.parametrize(
    ("patterns", "hit"),
    [
        (["data"], "data"),
        (["*.log", "/srv"], "/srv"),
        (["/srv/data/inner"], None),
        (["data/"], "data/"),
        (["new\nline", "[x-z]"], None),
        (["data", "!data"], None),
        (["!data", "d*"], "d*"),
        ([r"da\ta"], r"da\ta"),
        (["**"], "**"),
    ],
)
def test_patterns(patterns: list[str], hit: str | None) -> None:
    assert is_excluded("/srv/data", patterns) == hit


def test_pattern_over_a_newline() -> None:
    assert is_excluded("/srv/new\nline", ["new?line"]) == "new?line"


@pytest.mark.parametrize("pattern", ["[", "[a", "[]", "[-a]", "[b-a]", "a\\", "", "!", "[^]"])
def test_malformed_patterns(pattern: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        is_excluded("/srv/data", [pattern])
