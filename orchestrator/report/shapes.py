"""JSON Schema (2020-12) of every `--json` document, read from the type hints of what `plain` turns into it."""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from orchestrator.model.secret import Secret
from orchestrator.report.bodies import DOCUMENTS, Document
from orchestrator.report.document import schema_id
from orchestrator.report.keys import KEYS, described
from orchestrator.report.views import VIEWS, extras

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
INSTANT = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$"
_SIMPLE: Mapping[Any, Schema] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    type(None): {"type": "null"},
    datetime: {"type": "string", "format": "date-time", "pattern": INSTANT},
    Secret: {"const": "***"},
    Any: {},
}


def documents(known: Mapping[str, Document] = DOCUMENTS, keys: Mapping[str, str] = KEYS) -> dict[str, Schema]:
    """Return the schema of every document by the name in its schema ID: `resguardo/<name>/1`.

    keys: what each key means. Raises LookupError for one without a meaning, TypeError for what no document can hold.
    """
    return {name: _document(name, found, keys) for name, found in known.items()}


def _document(name: str, found: Document, keys: Mapping[str, str]) -> Schema:
    shapes = _Shapes(keys)
    body = shapes.of_class(found.body)
    body["properties"] = {
        "schema": {"const": schema_id(name), "description": described(found.body, "schema", keys)}
    } | body["properties"]
    body["required"] = ["schema", *body["required"]]
    return {"$schema": DIALECT, "title": schema_id(name), **body, "description": found.about, "$defs": shapes.defs}


class _Shapes:
    """Turns types into schemas; every dataclass goes to `defs` once, under its class's name."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._keys = keys
        self.defs: dict[str, Schema] = {}

    def of(self, hint: Any) -> Schema:
        """Return the schema of what `plain` makes of a value of this type. Raises TypeError for what it refuses."""
        if hint in _SIMPLE:
            return dict(_SIMPLE[hint])
        return self._generic(hint, get_origin(hint), get_args(hint)) if get_origin(hint) else self._class(hint)

    def of_class(self, kind: type) -> Schema:
        """Return the schema of a dataclass's object: its fields and what documents add, all required, nothing else."""
        hints = get_type_hints(kind)
        types_of = {field.name: hints[field.name] for field in fields(kind)}
        types_of |= {key: _returns(turn) for key, turn in extras(kind).items()}
        return {
            "type": "object",
            "additionalProperties": False,
            "required": list(types_of),
            "properties": {
                key: {**self.of(hint), "description": described(kind, key, self._keys)}
                for key, hint in types_of.items()
            },
        }

    def _class(self, kind: type) -> Schema:
        if issubclass(kind, Enum):
            return {"enum": [member.name.lower() for member in kind]}
        if view := VIEWS.get(kind):
            return self.of(_returns(view))
        if not is_dataclass(kind):
            raise TypeError(f"no shape for a document: {kind}")
        name = kind.__name__
        if name not in self.defs:
            self.defs[name] = {}  # a class that holds itself ends here
            self.defs[name] = {**self.of_class(kind), "description": _about(kind)}
        return {"$ref": f"#/$defs/{name}"}

    def _generic(self, hint: Any, origin: Any, arguments: tuple[Any, ...]) -> Schema:
        if origin is Literal:
            return {"enum": list(arguments)}
        if origin in (Union, types.UnionType):
            return self._union([self.of(argument) for argument in arguments])
        if issubclass(origin, Mapping):
            return {"type": "object", "additionalProperties": self.of(arguments[1])}
        if issubclass(origin, tuple) and arguments[1:] != (...,):
            raise TypeError(f"positions have no names in a document: {hint}")
        if issubclass(origin, (Sequence, Set)):
            return {"type": "array", "items": self.of(arguments[0])}
        raise TypeError(f"no shape for a document: {hint}")

    def _union(self, shapes: list[Schema]) -> Schema:
        if all(set(shape) == {"type"} for shape in shapes):
            return {"type": [shape["type"] for shape in shapes]}
        return {"anyOf": shapes}


def _about(kind: type) -> str:
    """Return what a class says of itself; what it says of its fields stands in `keys`."""
    paragraph = " ".join(str(kind.__doc__).split("\n\n", maxsplit=1)[0].split())
    return re.split(r"(?<=\.) (?=[a-z])", paragraph, maxsplit=1)[0]


def _returns(function: Callable[[Any], Any]) -> Any:
    return get_type_hints(function)["return"]
