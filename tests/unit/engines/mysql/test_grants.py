"""Which grants the server applies, and what of a server's message is told."""

from __future__ import annotations

import re

import pytest

from orchestrator.engines._mysql.connection import one_line
from orchestrator.engines._mysql.grants import Grants, parse

USER = "`bk`@`localhost`"


def grants(*lines: str, literal: bool = False) -> Grants:
    return parse(
        USER, [line if re.search(" (TO|FROM) ", line) else f"{line} TO {USER}" for line in lines], literal=literal
    )


@pytest.mark.parametrize(
    ("lines", "held"),
    [
        (["GRANT SELECT, TRIGGER ON `app%`.*", "GRANT SELECT ON `app1`.*"], False),
        (["GRANT SELECT ON `app%`.*", "GRANT SELECT, TRIGGER ON `app1`.*"], True),
        (["GRANT TRIGGER ON *.*", "GRANT SELECT ON `app1`.*"], True),
        (["GRANT TRIGGER ON `a%`.*", "GRANT SELECT ON `app_`.*"], False),
        (["GRANT TRIGGER ON `app_`.*", "GRANT SELECT ON `app%`.*"], False),  # which is first is not known
        (["GRANT TRIGGER, SELECT ON `app_`.*", "GRANT TRIGGER ON `app%`.*"], True),
        (["GRANT TRIGGER ON `app1`.*", "GRANT SELECT ON `app1`.* TO `reader`"], True),
        (["GRANT SELECT ON `app1`.*", "GRANT TRIGGER ON `app%`.* TO `reader`"], True),
        (["GRANT TRIGGER ON `app%`.* TO `reader`", "GRANT SELECT ON `app1`.* TO `other`"], False),
        (["GRANT TRIGGER ON `app1`.* TO `reader`", "GRANT SELECT ON `app1`.* TO `other`"], True),
        (["GRANT ALL PRIVILEGES ON `app1`.*", "GRANT SELECT ON `app%`.*"], True),
        (["GRANT TRIGGER ON *.*", "REVOKE TRIGGER ON `app1`.* FROM `bk`@`localhost`"], False),
        (["GRANT TRIGGER ON `other`.*"], False),
    ],
)
def test_the_most_specific_grant_on_a_database_hides_the_others(lines: list[str], *, held: bool) -> None:
    assert grants(*lines).has("TRIGGER", "app1") is held


def test_patterns_are_names_where_the_server_takes_them_so() -> None:
    assert grants("GRANT TRIGGER ON `app%`.*").has("TRIGGER", "app1")
    literal = grants("GRANT TRIGGER ON `app%`.*", "GRANT TRIGGER ON `a_b`.*", literal=True)
    assert not literal.has("TRIGGER", "app1")
    assert literal.has("TRIGGER", "a_b")
    assert literal.pattern("a_b") == "a_b"


def test_a_first_grant_on_a_database_must_repeat_what_it_hides() -> None:
    held = grants("GRANT EVENT ON *.*", "GRANT SELECT, EVENT, EXECUTE ON `a%`.*")
    assert held.hidden("a_b") == ["EXECUTE", "SELECT"]
    assert grants("GRANT SELECT ON `a\\_b`.*").hidden("a_b") == []
    assert grants("GRANT SELECT ON `a_b`.*").hidden("a_b") == ["SELECT"]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Duplicate entry 'my' for key 'se' for key 'PRIMARY'", "Duplicate entry '…' for key 'PRIMARY'"),
        ("ERROR 1062 (23000) at line 7: Duplicate entry 'cut off", "ERROR 1062 (23000) at line 7: Duplicate entry '…'"),
        (
            "Incorrect string value: '\\xE9' for column `a`.`b`.`c` at row 1",
            "Incorrect string value: '…' for column `a`.`b`.`c` at row 1",
        ),
        ("Truncated incorrect DOUBLE value: 'it's'", "Truncated incorrect DOUBLE value: '…'"),
        ("right syntax to use near 'x at line 2' at line 1", "right syntax to use near '…' at line 1"),
        ("Table has no partition for value 42", "Table has no partition for value '…'"),
        ("Invalid utf8mb4 character string: 'F09F'", "Invalid utf8mb4 character string: '…'"),
        ("Data too long for column 'a' at row 1", "Data too long for column 'a' at row 1"),
        ("Access denied for user 'bk'@'localhost'", "Access denied for user 'bk'@'localhost'"),
    ],
)
def test_values_of_rows_are_not_told(said: str, told: str) -> None:
    assert one_line(said) == told
