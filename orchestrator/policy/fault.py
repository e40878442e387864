"""How validators of the policy's models say what is wrong, with a hint; also for the Options models of engines."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from pydantic_core import PydanticCustomError

FAULT = "resguardo_fault"
_LONGEST_SHOWN = 60
_MOST_COMPARED = 200


def fault(message: str, hint: str | None = None) -> PydanticCustomError:
    """Return the error for a validator to raise: message in our grammar (what is wrong), hint (what to do).

    Never put a secret's value into either.
    """
    return PydanticCustomError(FAULT, "{message}", {"message": message, "hint": hint})


def reason(error: ValueError) -> tuple[str, str | None]:
    """Return message and hint of what a validator raised, for callers that use it outside of a model."""
    context = error.context if isinstance(error, PydanticCustomError) else None
    return (str(context["message"]), context["hint"]) if context else (str(error), None)


def shown(value: object) -> str:
    """Return a value as it may stand in a message: quoted when it is text, and never long."""
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 1]}…"


def did_you_mean(word: str, known: Iterable[str], *, kind: str = "known") -> str | None:
    """Return a hint that names the closest known word, or all of them; None when there are none, or too many."""
    import difflib  # noqa: PLC0415 - only for a mistake; loading a valid policy must stay cheap

    names = sorted(islice(known, _MOST_COMPARED + 1))
    if len(names) > _MOST_COMPARED:
        return None  # too slow to compare, too long to read
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"{kind}: {', '.join(names)}" if names else None
