"""restic's output read tolerantly."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.adapters.restic import lines

STDERR = (
    "\x1b[2Kunable to open cache: no\n"
    '{"message_type":"error","error":{"message":"read /a: input/output error"},"during":"archival","item":"/a"}\n'
    '{"message_type":"error","error":{"Op":"open","Path":"/b","Err":13},"item":"/b"}\n'
    '{"message_type":"error","error":{},"item":"/c"}\n'
    '{"message_type":"exit_error","code":3,"message":"Warning: at least one"}\n'
    "{broken\n[1]\n"
)


def test_errors_of_old_and_new_shapes() -> None:
    assert list(lines.errors(STDERR)) == [
        ("/a", "read /a: input/output error"),
        ("/b", "open"),
        ("/c", "cannot be read"),
    ]


def test_plain_lines_and_the_last_word() -> None:
    assert list(lines.plain(STDERR)) == ["unable to open cache: no", "{broken", "[1]"]
    assert lines.exit_message(STDERR) == "Warning: at least one"
    assert lines.exit_message("Fatal: plain") == ""


def test_the_last_summary_counts() -> None:
    text = '{"message_type":"summary","a":1}\nnoise\n{"message_type":"summary","a":2,"new":{}}\n'
    assert lines.last_of(text, "summary") == {"message_type": "summary", "a": 2, "new": {}}
    assert lines.last_of("", "summary") is None


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("2026-11-21T10:05:56.53254893Z", datetime(2026, 11, 21, 10, 5, 56, 532548, UTC)),
        ("2026-11-21T10:05:56.5+09:00", datetime(2026, 11, 21, 1, 5, 56, 500000, UTC)),
        ("2026-11-21T10:05:56Z", datetime(2026, 11, 21, 10, 5, 56, 0, UTC)),
        ("yesterday", None),
        (None, None),
        (5, None),
    ],
)
def test_times(text: object, read: datetime | None) -> None:
    assert lines.instant(text) == read


def test_numbers() -> None:
    assert [lines.number({"a": value}, "a") for value in (3, 3.9, "3", None)] == [3, 3, 0, 0]
    assert lines.number({}, "a") == 0


@given(st.text())
def test_no_output_is_too_odd(text: str) -> None:
    list(lines.objects(text))
    list(lines.plain(text))
    list(lines.errors(text))
    assert isinstance(lines.exit_message(text), str)
    assert lines.instant(text) is None or lines.instant(text)


@given(
    st.dictionaries(st.text(), st.recursive(st.none() | st.text() | st.integers(), st.lists, max_leaves=8), max_size=4)
)
def test_every_object_is_found(value: dict[str, object]) -> None:
    assert list(lines.objects(f"noise\n\x1b[2K{json.dumps(value)}\nnoise")) == [value]
