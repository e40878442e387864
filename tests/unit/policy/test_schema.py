"""The JSON Schema: committed as generated, valid, agreeing with the loader, every key explained."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from orchestrator import engines
from orchestrator.policy.schema import policy_schema, render, schemas, services_schema
from orchestrator.policy.yaml_loader import load_text
from tests.unit.policy.files import OPTIONS, POLICY, SERVICES

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", ["policy", "services"])
def test_the_committed_schema_is_the_generated_one(name: str) -> None:
    committed = (ROOT / "docs/reference" / f"{name}.schema.json").read_text(encoding="utf-8")
    generated = render(schemas(engines.Options())[name])
    assert committed == generated, "write them anew with: resguardo schema --write"


@pytest.mark.parametrize("name", ["policy", "services"])
def test_the_shipped_file_fits_its_schema(name: str) -> None:
    schema = json.loads((ROOT / "docs/reference" / f"{name}.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    text = (ROOT / f"{name}.yml").read_text(encoding="utf-8")
    assert list(Draft202012Validator(schema).iter_errors(load_text(text, name, {}).data)) == []


def faults(schema: dict[str, Any], text: str) -> list[str]:
    return [error.json_path for error in Draft202012Validator(schema).iter_errors(load_text(text, "f", {}).data)]


@pytest.mark.parametrize(
    ("text", "places"),
    [
        (POLICY, []),
        (POLICY + "parallel: $${N:-2}\n", []),
        (POLICY + "parallel: 17\n", ["$.parallel"]),
        (POLICY + "paralel: 1\n", ["$"]),
        (POLICY + "timeout: 30\n", ["$.timeout"]),
        (POLICY.replace("within: 7d", "wthin: 7d"), ["$.retention.cache"]),
        (POLICY.replace("  default:", "  other:"), ["$.retention"]),
        (POLICY.replace("{file: var/repository.key}", "hunter2"), ["$.repositories.local.password"]),
        (POLICY.replace("{file: var/repository.key}", "{file: a, env: B}"), ["$.repositories.local.password"]),
        (POLICY.replace("  local:", "  Local:"), ["$.repositories"]),
        (POLICY + "  guard: {max_forget: 30%, keep_proven: 2}\n", []),
    ],
)
def test_policy(text: str, places: list[str]) -> None:
    assert faults(policy_schema(), text) == places


@pytest.mark.parametrize(
    ("text", "places"),
    [
        (SERVICES, []),
        (SERVICES.replace("engine: book", "engine: bok"), ["$.services.shop.databases.main.engine"]),
        (SERVICES.replace("path: shop.db", "pth: shop.db"), ["$.services.shop.databases.main"] * 2),
        (SERVICES.replace("path: shop.db", "path: shop.db, low: 1"), ["$.services.shop.databases.main"]),
        (SERVICES.replace("engine: book, path: shop.db", "engine: shelf, low: 1, tier: cache"), []),
        (SERVICES + "    enabled: no\n", ["$.services.shop.enabled"]),
        (SERVICES + "    quiesce: {}\n", ["$.services.shop"]),
    ],
)
def test_services(text: str, places: list[str]) -> None:
    assert faults(services_schema(OPTIONS), text) == places


def unexplained(node: Any, path: str = "") -> Iterator[str]:
    if isinstance(node, list):
        for number, entry in enumerate(node):
            yield from unexplained(entry, f"{path}[{number}]")
    if isinstance(node, dict):
        for key, entry in node.get("properties", {}).items() if "if" not in path.split(".") else ():
            if "description" not in entry:
                yield f"{path}.{key}"
        for key, entry in node.items():
            yield from unexplained(entry, f"{path}.{key}")


@pytest.mark.parametrize("name", ["policy", "services"])
def test_every_key_is_explained(name: str) -> None:
    own = {"policy": policy_schema(), "services": services_schema({})}
    assert list(unexplained(own[name])) == []
