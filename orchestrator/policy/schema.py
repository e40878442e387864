"""JSON Schema (draft 2020-12) of both files, for editors: what each key means, and what it may hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from orchestrator.model.names import NAME_PATTERN, RESERVED
from orchestrator.policy.engine_options import Models
from orchestrator.policy.policy_file import Policy
from orchestrator.policy.retention import DEFAULT_TIER
from orchestrator.policy.services_file import FILES_ENGINE, Services

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_NAME: dict[str, Any] = {"pattern": f"^{NAME_PATTERN}$", "not": {"enum": sorted(RESERVED)}}
# Editors see the file before ${VAR} is filled in, when any scalar may still be text.
_PLACEHOLDER = {"type": "string", "pattern": r"\$\{"}
_TYPED = frozenset({"integer", "number", "boolean"})


def schemas(options: Models) -> dict[str, dict[str, Any]]:
    """Return both schemas by file: `policy` and `services`. options: of every engine by name."""
    return {"policy": policy_schema(), "services": services_schema(options)}


def render(schema: Mapping[str, Any]) -> str:
    """Return the schema as the text of its file."""
    return json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def policy_schema() -> dict[str, Any]:
    """Return the schema of policy.yml."""
    schema = _schema_of(Policy)
    # In YAML the tiers stand beside `guard`.
    retention = schema["$defs"]["RetentionPolicy"]
    tiers = retention["properties"].pop("tiers")
    (rules,) = tiers["patternProperties"].values()
    retention["patternProperties"] = tiers["patternProperties"]
    retention["required"] = [DEFAULT_TIER]
    retention["properties"] = {
        DEFAULT_TIER: {**rules, "description": "The tier of whatever says no other."},
        **retention["properties"],
    }
    retention["properties"]["guard"]["description"] = "Brakes against a mistake in the rules."
    return _finished(schema, "policy.yml", "How to back up: repositories, retention, jobs, notifications.")


def services_schema(options: Models) -> dict[str, Any]:
    """Return the schema of services.yml; each engine's own keys apply where `engine` names it."""
    schema = _schema_of(Services)
    defs = schema["$defs"]
    common = defs["Database"]
    databases = sorted(name for name in options if name != FILES_ENGINE)
    for name in databases:
        own = _schema_of(options[name])
        defs.update(own.pop("$defs", {}))
        own["properties"] = {**own.get("properties", {}), **common["properties"]}
        own["required"] = sorted({*own.get("required", []), "engine"})
        defs[f"engine.{name}"] = {**own, "additionalProperties": False}
    defs["Database"] = {
        "type": "object",
        "required": ["engine"],
        "properties": {"engine": {"enum": databases, "description": "Which kind of database."}},
        "allOf": [
            {
                "if": {"properties": {"engine": {"const": name}}, "required": ["engine"]},
                "then": {"$ref": f"#/$defs/engine.{name}"},
            }
            for name in databases
        ],
    }
    return _finished(schema, "services.yml", "What to back up: services with their databases and paths.")


def _schema_of(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema(mode="validation", ref_template="#/$defs/{model}")


def _finished(schema: dict[str, Any], title: str, description: str) -> dict[str, Any]:
    done: dict[str, Any] = _tidied(schema)
    return {"$schema": DIALECT, **done, "title": title, "description": description}


def _tidied(node: Any) -> Any:
    """Say less: no titles made from key names, defaults as users write them, ${…} allowed for numbers and switches."""
    if isinstance(node, list):
        return [_tidied(entry) for entry in node]
    if not isinstance(node, dict):
        return node
    if "patternProperties" in node:
        # pydantic says what matching keys hold; what does not match is not allowed at all.
        (pattern, value), *_none = node["patternProperties"].items()
        names = _NAME if pattern == _NAME["pattern"] else {"pattern": pattern}
        kept = {key: entry for key, entry in node.items() if key != "patternProperties"}
        node = {**kept, "propertyNames": names, "additionalProperties": value}
    # Docstrings of models speak to programmers; each key has its own description for users.
    dropped = ("title", "description") if isinstance(node.get("properties"), dict) else ()
    tidy = {key: _tidied(value) for key, value in node.items() if key not in dropped}
    if isinstance(tidy.get("properties"), dict):
        tidy["properties"] = {key: _property(value) for key, value in tidy["properties"].items()}
    return tidy


def _property(schema: dict[str, Any]) -> dict[str, Any]:
    told = {key: value for key, value in schema.items() if key not in ("title", "default")}
    fixed = told.get("type") in _TYPED or "enum" in told or _PLACEHOLDER["pattern"] not in told.get("pattern", r"\$\{")
    if not fixed:
        return told
    description = {"description": told.pop("description")} if "description" in told else {}
    return {"anyOf": [told, _PLACEHOLDER], **description}
