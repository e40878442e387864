"""docs/reference/documents.md: every document of --json with its keys and an example."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.report.bodies import DOCUMENTS

HEAD = """# Documents

This page and the schemas beside it are written by `scripts/reference` from the program's own types; a test fails when
they are old.

With `--json` a command prints one document on standard output and nothing else; what is for people goes to standard
error. `schema` says which document it is: `resguardo/<name>/<version>`, where the version changes when a key goes away
or changes its meaning. A newer program may add keys; the schemas are exact for this one, and all keys are always there.
Instead of its own document any command may print [`error`](#error): a run that never began. One that began and failed
is told by its own document: `result`, `error` and `exit_code`. `--help` and `--version` print text.

Instants are UTC, as `2026-11-03T02:00:07.123456Z`; sizes are bytes; durations are seconds. The examples are from a real
run; lists and maps in them are cut to their first entry. Each [shape](#shapes) that several documents share is
described once, below.
"""


def page(schemas: Mapping[str, Mapping[str, Any]], examples: Mapping[str, str]) -> str:
    """Return the page. examples: JSON text by document; a document without one is shown without."""
    shapes = {name: shape for schema in schemas.values() for name, shape in schema["$defs"].items()}
    parts = [HEAD, *(_document(name, schemas[name], examples.get(name, "")) for name in DOCUMENTS), "## Shapes\n"]
    parts += [f"### `{name}`\n\n{shapes[name]['description']}\n\n{_table(shapes[name])}" for name in sorted(shapes)]
    return "\n".join(parts)


def _document(name: str, schema: Mapping[str, Any], example: str) -> str:
    by = ", ".join(f"`resguardo {command}`" for command in DOCUMENTS[name].commands) or "any command"
    about = (
        f"## `{name}`\n\n{schema['description']}\n\nPrinted by {by}. Schema: [{name}](documents/{name}.schema.json).\n"
    )
    shown = f"\n```json\n{example.rstrip()}\n```\n" if example else ""
    return f"{about}\n{_table(schema)}{shown}"


def _table(shape: Mapping[str, Any]) -> str:
    rows = [
        f"| `{key}` | {_type(value)} | {value['description']} |"
        for key, value in shape["properties"].items()
        if key != "schema"
    ]
    return "\n".join(["| Key | Holds | Meaning |", "|---|---|---|", *rows, ""])


def _type(schema: Mapping[str, Any]) -> str:
    return " or ".join(_words(schema))


def _words(schema: Mapping[str, Any]) -> Iterator[str]:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        yield f"[{name}](#{name.lower()})"
    elif "anyOf" in schema:
        for each in schema["anyOf"]:
            yield from _words(each)
    elif "enum" in schema:
        yield ", ".join(f"`{word}`" for word in schema["enum"])
    elif schema.get("format") == "date-time":
        yield "instant"
    elif schema.get("type") == "array":
        yield f"list of {_type(schema['items'])}"
    elif schema.get("type") == "object":
        yield f"map to {_type(schema['additionalProperties'])}"
    else:
        found = schema.get("type", "anything")
        yield from [found] if isinstance(found, str) else found
