"""From what pydantic says to problems with a place, a message in our grammar and a hint."""

from __future__ import annotations

import re
import types
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from orchestrator.model.errors import Problem
from orchestrator.policy import later
from orchestrator.policy.fault import FAULT, did_you_mean, shown
from orchestrator.policy.yaml_loader import Document, Path

MOST_PROBLEMS = 200
QUOTES_HINT = "put it in quotes"
_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "dict_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "model_attributes_type": "a mapping (key: value)",
}
_LIMITS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
}
_PLAIN = {
    "missing": "required key is missing",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
}
# What to write where a key is missing.
_MISSING: dict[str | int, str] = {
    "engine": "say which kind of database it is, such as engine: sqlite",
    "host": "add a name for this machine's restore points, such as host: hub-01",
    "password": "add where the password is, such as password: {file: var/repository.key}",
    "repositories": "say where the backups go: repositories: {local: {url: PATH, password: {file: PATH}}}",
    "retention": "say what to keep: retention: {default: {last: 7, daily: 30}}",
    "services": "list the services under the key `services`",
    "url": "say where it is, such as url: var/repository",
    "version": "add version: 1",
}
_SWITCHES = frozenset({"yes", "no", "on", "off", "y", "n"})


def problems_of(document: Document, error: ValidationError, model: Any, prefix: Path = ()) -> Iterator[Problem]:
    """Give one problem per fault that `model` found in the data at `prefix`."""
    for number, fault in enumerate(error.errors(include_url=False)):
        path = _path_of(document, fault["loc"], prefix)
        if fault["type"] == "extra_forbidden":
            # Comparing words is slow: a file of a hundred thousand wrong keys must not take minutes.
            known = _keys_at(model, fault["loc"]) if number < MOST_PROBLEMS else []
            yield unknown_key(document, path, known)
        else:
            message, hint = _told(dict(fault))
            yield document.problem(path, message, hint or _MISSING.get(path[-1] if fault["type"] == "missing" else 0))


def unknown_key(document: Document, path: Path, known: Iterable[str]) -> Problem:
    """Return the problem of a key that does not exist, or not yet."""
    if later.is_later(path):
        return document.problem(path, later.WORDS, later.HINT)
    return document.problem(path, "unknown key", did_you_mean(str(path[-1]), known, kind="known keys"))


def _path_of(document: Document, loc: tuple[str | int, ...], prefix: Path) -> Path:
    """Follow pydantic's location in the file; it also holds tags of unions, `[key]` and fields that YAML has not."""
    path = prefix
    for position, part in enumerate(loc):
        absent = position == len(loc) - 1 and str(part).isidentifier() and part not in _TAGS
        if absent or (*path, part) in document.places:
            path = (*path, part)
    return path


# Parts of a location that are ours, never the user's.
_TAGS = frozenset({"tiers", "reference", "text"})


def _told(fault: dict[str, Any]) -> tuple[str, str | None]:
    kind, context, value = fault["type"], fault.get("ctx") or {}, fault.get("input")
    if kind == FAULT:
        return str(context["message"]), context["hint"]
    if kind in _EXPECTED:
        return f"expected {_EXPECTED[kind]}, found {_kind(value)}", _type_hint(kind, value)
    if kind == "literal_error":
        return _choice(str(context["expected"]), value)
    return _other(kind, context, value, str(fault["msg"]))


def _other(kind: str, context: dict[str, Any], value: Any, told: str) -> tuple[str, str | None]:
    if kind in _PLAIN:
        return _PLAIN[kind], None
    if kind in _LIMITS:
        words, name = _LIMITS[kind]
        return f"must be {words} {context[name]}, found {shown(value)}", None
    if kind == "value_error":
        message, _, hint = str(context.get("error", told)).partition("\nHINT: ")
        return message, hint or None
    message = told.removeprefix("Input ").rstrip(".")
    return message[:1].lower() + message[1:], None


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    kinds = {str: "text", int: "a number", float: "a number", list: "a list", dict: "a mapping"}
    return kinds.get(type(value), type(value).__name__)


def _type_hint(kind: str, value: Any) -> str | None:
    if kind == "string_type" and isinstance(value, bool | int | float):
        return QUOTES_HINT
    if kind.startswith("bool") and isinstance(value, str) and value.lower() in _SWITCHES:
        return "yes, no, on and off are plain text: write true or false"
    if kind.startswith(("int", "bool", "float")) and isinstance(value, str):
        return "write it without quotes"
    if kind in ("list_type", "tuple_type") and isinstance(value, str):
        return "write [a, b], or one `- entry` a line"
    return None


def _choice(expected: str, value: Any) -> tuple[str, str | None]:
    words = re.findall(r"'([^']*)'", expected)
    hint = did_you_mean(value, words) if isinstance(value, str) and words else None
    found = shown(value) if isinstance(value, str | int | float) else _kind(value)
    return f"expected {expected}, found {found}", hint if hint and hint.startswith("did") else None


def _keys_at(model: Any, loc: tuple[str | int, ...]) -> list[str]:
    """Return the keys of the model that holds the unknown key at `loc`."""
    for part in loc[:-1]:
        model = _inside(_bare(model), part)
    model = _bare(model)
    return list(model.model_fields) if _is_model(model) else []


def _inside(model: Any, part: str | int) -> Any:
    if _is_model(model):
        field = model.model_fields.get(part)
        return field.annotation if field else model
    if get_origin(model) in (dict, list, tuple):
        return get_args(model)[-1]
    return model


def _bare(model: Any) -> Any:
    """Strip Annotated, and take the model out of `X | None`."""
    while get_origin(model) in (Annotated, Union, types.UnionType):
        choices = [choice for choice in get_args(model) if choice is not type(None)]
        model = choices[0]
    return model


def _is_model(model: Any) -> bool:
    return isinstance(model, type) and issubclass(model, BaseModel)
