"""Users and roles as lines: what is written is read, what is cut is not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.engines.mongodb.people import FOOTER, MAGIC, People, parse, render
from orchestrator.model.errors import RestoreFailed

TEXT = st.text(st.characters(exclude_characters=".\0", exclude_categories=("Cs",)), min_size=1, max_size=12)
MORE = st.dictionaries(st.sampled_from(["customData", "roles", "credentials"]), st.one_of(TEXT, st.booleans()))


def people(users: list[tuple[str, str, Any]], roles: list[tuple[str, str, Any]]) -> People:
    return People(
        {f"{db}.{name}": {"user": name, "db": db, **more} for db, name, more in users},
        {f"{db}.{name}": {"role": name, "db": db, **more} for db, name, more in roles},
    )


ALL = st.builds(people, st.lists(st.tuples(TEXT, TEXT, MORE)), st.lists(st.tuples(TEXT, TEXT, MORE)))


@given(ALL)
def test_what_is_written_is_read(found: People) -> None:
    data = render(found)
    assert data.startswith(MAGIC)
    assert FOOTER in data[-64:]
    assert parse(data) == found


def test_types_stay() -> None:
    more = {"userId": bson.Binary(bytes(16), 4), "n": bson.Int64(5), "at": datetime(2026, 1, 1, tzinfo=UTC)}
    (back,) = parse(render(people([("shop", "line\nbreak \u2028", more)], []))).users.values()
    assert {key: (type(back[key]), back[key]) for key in more} == {key: (type(v), v) for key, v in more.items()} | {
        "at": (type(back["at"]), datetime(2026, 1, 1, tzinfo=UTC))
    }


def test_every_cut_is_noticed() -> None:
    data = render(people([("shop", "clerk", {})], [("shop", "reader", {})]))
    for place in range(len(data)):
        with pytest.raises(RestoreFailed):
            parse(data[:place])


@pytest.mark.parametrize("line", [b'{"dog": {"db": "a", "dog": "b"}}', b'{"user": {"db": "a"}}', b"[]", b"{}", b"\xff"])
def test_other_lines_are_refused(line: bytes) -> None:
    with pytest.raises(RestoreFailed):
        parse(MAGIC + line + b"\n" + FOOTER + b"1}\n")
