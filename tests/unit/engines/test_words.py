"""What a program said last, cut between words."""

from __future__ import annotations

import pytest

from orchestrator.engines.postgresql.connection import last_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("short one.", "short one"),
        ("0123456789 abc def", "abc def"),  # the first word is cut, and goes
        ("x" * 30 + " abcdefghi", "abcdefghi"),  # the cut lies between words
        ("secret" * 5, ""),
    ],
)
def test_half_a_word_is_left_out(text: str, words: str) -> None:
    assert last_words(text, 10) == words
