from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.report.table import fields, table
from orchestrator.report.units import age, cut, duration, lines, safe, size, width

NOW = datetime(2026, 6, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1048575, "1.0 MiB"),
        (10 * 2**30, "10.0 GiB"),
        (2**60, "1024.0 PiB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (0.42, "0.4 s"),
        (12.4, "12 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7620, "2 h 07 min"),
        (273600, "3 d 4 h"),
        (-5, "0.0 s"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("past", "text"),
    [(40, "40 s"), (425, "7 min"), (18_000, "5 h"), (47 * 3600, "47 h"), (49 * 3600, "2 d"), (-60, "in the future")],
)
def test_ages(past: int, text: str) -> None:
    assert age(NOW - timedelta(seconds=past), NOW) == text


def test_no_age() -> None:
    assert age(None, NOW) == "never"


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("two\nlines\r", "two\\nlines\\r"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("caf\u00e9 \u65e5\u672c", "caf\u00e9 \u65e5\u672c"),
        ("half\udcff", "half\\udcff"),
        ("\x9b31m", "\\x9b31m"),
        ("no\u00a0break", "no break"),
        ("a\u2028b", "a\\u2028b"),
    ],
)
def test_hostile_names_never_reach_the_terminal(hostile: str, shown: str) -> None:
    assert safe(hostile) == shown


@given(st.text(st.characters()))
def test_what_is_safe_is_printable_and_encodable(text: str) -> None:
    shown = safe(text)
    assert shown.isprintable()
    assert "\n" not in table(("A", "B"), [(text, text)]).split("\n", 1)[1]
    shown.encode()


def test_our_own_lines_stay() -> None:
    assert lines("a\nb\x07") == "a\nb\\x07"


def test_wide_letters_take_two_columns() -> None:
    assert width("\u65e5\u672ce\u0301") == 5
    rows = table(("NAME", "SIZE"), [("\u65e5\u672c", "1"), ("plain", "22")], right=(1,)).split("\n")
    assert rows == ["NAME   SIZE", "\u65e5\u672c      1", "plain    22"]


def test_long_cells_are_cut_but_for_the_last() -> None:
    assert cut("\u65e5\u672c\u8a9e", 5) == "\u65e5\u672c\u2026"
    text = table(("A", "B"), [("x" * 99, "y" * 99)])
    assert "x" * 59 + "\u2026" in text
    assert "y" * 99 in text


def test_empty_fields_are_left_out() -> None:
    assert fields([("a", "1"), ("bb", ""), ("ccc", "x\ny")]) == "a    1\nccc  x\\ny"
