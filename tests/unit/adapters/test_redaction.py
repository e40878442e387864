"""A secret is left out in every form in which tools and servers repeat it."""

from __future__ import annotations

import base64
import html
from urllib.parse import quote

import pytest

from orchestrator.adapters.redaction import MASK, redact

SECRET = "gé<h&im/pa+ss:wört?"


@pytest.mark.parametrize("user", ["", "a", "ab", "abc", "backup"])
def test_basic_authentication(user: str) -> None:
    header = base64.b64encode(f"{user}:{SECRET}".encode()).decode()
    shown = redact(f"Authorization: Basic {header}", [SECRET])
    assert MASK in shown
    core = base64.b64decode(shown.partition("Basic ")[2].replace(MASK, "") + "===", validate=False)
    assert SECRET.encode()[3:-3] not in core


@pytest.mark.parametrize(
    "text",
    [quote(SECRET, safe="").lower(), html.escape(SECRET), html.escape(SECRET, quote=False)],
    ids=["percent", "html", "html text"],
)
def test_encoded(text: str) -> None:
    assert redact(f"<{text}>", [SECRET]) == f"<{MASK}>"


def test_ordinary_words_stay() -> None:
    assert redact("the password is wrong", ["secret"]) == "the password is wrong"
