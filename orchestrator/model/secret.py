"""A secret value that does not print itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Secret:
    """A password or key. `reveal()` is the only way to its text: repr, str and format show `***`."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself, to be written to a private file or handed to a driver."""
        return self._text

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


# Turns a policy's secret reference ({file|env|command: …}) into its value; raises RightsMissing, Precondition.
SecretResolver = Callable[[Any], Secret]
