"""JSON Schema (2020-12) of every `--json` document, read from the type hints of what `plain` turns into it."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from orchestrator.model.secret import Secret
from orchestrator.report.bodies import DOCUMENTS, Document
from orchestrator.report.document import schema_id
from orchestrator.report.keys import described
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


def documents() -> dict[str, Schema]:
    """Return the schema of every document by the name in its schema ID: `resguardo/<name>/1`."""
    return {name: _document(name, found) for name, found in DOCUMENTS.items()}


def _document(name: str, found: Document) -> Schema:
    shapes = _Shapes()
    body = shapes.of_class(found.body)
    body["properties"] = {"schema": {"const": schema_id(name), "description": described(found.body, "schema")}} | body[
        "properties"
    ]
    body["required"] = ["schema", *body["required"]]
    return {"$schema": DIALECT, "title": schema_id(name), **body, "description": found.about, "$defs": shapes.defs}


class _Shapes:
    """Turns types into schemas; every dataclass goes to `defs` once, under its class's name."""

    def __init__(self) -> None:
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
                key: {**self.of(hint), "description": described(kind, key)} for key, hint in types_of.items()
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
            about = " ".join(str(kind.__doc__).split("\n\n", maxsplit=1)[0].split())
            self.defs[name] = {**self.of_class(kind), "description": about}
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


def _returns(function: Callable[[Any], Any]) -> Any:
    return get_type_hints(function)["return"]
