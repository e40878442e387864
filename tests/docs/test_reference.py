"""The pages about keys, events and variables say what the program does."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator import engines
from orchestrator.model.events import EVENTS
from orchestrator.model.failpoints import FAILPOINTS
from orchestrator.policy import later, load
from orchestrator.policy.policy_file import SEVERITIES
from tests.docs.pages import PROJECT, Page

FOLDER = PROJECT / "docs" / "reference"
POLICY, SERVICES, EVENT_PAGE = (Page(FOLDER / f"{name}.md") for name in ("policy", "services", "events"))
ENVIRONMENT = Page(FOLDER / "environment.md")
_ROW = re.compile(r"^\| `(.+?)` \| (.+?) \| (.*?) ?\| (.+) \|(?: `(.+)`)? \|$", re.MULTILINE)


def written(tmp_path: Path, policy: str, services: str) -> str:
    """Write both files; return the policy's path."""
    (tmp_path / "services.yml").write_text(services, encoding="utf-8")
    (tmp_path / "policy.yml").write_text(policy, encoding="utf-8")
    return str(tmp_path / "policy.yml")


def test_the_whole_examples_are_valid(tmp_path: Path) -> None:
    (policy,), (services,) = POLICY.blocks("yaml"), SERVICES.blocks("yaml")
    config = load(written(tmp_path, policy, services), engines.Options(), {})
    assert [source.tier for source in config.sources] == ["default", "cache", "default"]


def test_the_rules_of_the_events_page_are_valid(tmp_path: Path) -> None:
    (notify,), (policy,), (services,) = EVENT_PAGE.blocks("yaml"), POLICY.blocks("yaml"), SERVICES.blocks("yaml")
    text = re.sub(r"^notify:\n(?: .+\n)+", notify, policy, flags=re.MULTILINE)
    assert notify in text
    assert load(written(tmp_path, text, services), engines.Options(), {}).policy.notify.rules


def keys(page: Page) -> Iterator[tuple[str, str, str]]:
    """Yield (heading, key, example) of every row that has an example."""
    for part in re.split(r"^## ", page.text, flags=re.MULTILINE)[1:]:
        heading, _, body = part.partition("\n")
        yield from ((heading, row[1], row[5]) for row in _ROW.finditer(body) if row[5])


BASE = "version: 1\nhost: a\nrepositories: {local: {url: /r, password: {file: k}}}\nretention: {default: {last: 1}}\n"
INVENTORY = "services: {shop: {paths: [/p]}, hub: {paths: [/p]}}\n"


@pytest.mark.parametrize(
    ("heading", "key", "example"),
    [row for row in keys(POLICY) if re.fullmatch(r"`(health|staging|logs|restic|tidy|check)`|Top level", row[0])],
)
def test_examples_of_the_policys_keys_are_taken(tmp_path: Path, heading: str, key: str, example: str) -> None:
    lines = [line for line in BASE.splitlines() if not line.startswith(f"{key}:")]
    if heading == "Top level":
        example = str(tmp_path / "services.yml") if key == "services_file" else example
        policy = "\n".join([*lines, f"{key}: {example}", ""])
    else:
        policy = f"{BASE}{heading.strip('`')}: {{{key}: {example}}}\n"
    load(written(tmp_path, policy, INVENTORY), engines.Options(), {})


def properties(node: Any) -> Iterator[str]:
    """Yield the keys that a schema describes, at any depth; the conditions of `if` describe nothing new."""
    if isinstance(node, list):
        node = dict(enumerate(node))
    if isinstance(node, dict):
        own = node.get("properties")
        yield from own if isinstance(own, dict) else ()
        for key, entry in node.items():
            if key != "if":
                yield from properties(entry)


@pytest.mark.parametrize(("page", "name"), [(POLICY, "policy"), (SERVICES, "services")])
def test_every_key_of_the_schemas_is_on_its_page(page: Page, name: str) -> None:
    found = set(properties(json.loads((FOLDER / f"{name}.schema.json").read_text(encoding="utf-8"))))
    missing = {key for key in found if f"| `{key}` |" not in page.text}
    assert len(found) > 20
    assert missing == ({"default"} if name == "policy" else set())  # the tier `default` is told at `TIER`


def test_what_is_refused_for_now_is_told() -> None:
    for path in later.KEYS:
        page = POLICY if path[0] == "repositories" else SERVICES
        assert f"`{'.'.join(path).replace('*', 'NAME')}`" in page.text
    assert all(f"`engine: {engine}`" in SERVICES.text for engine in later.ENGINES)


def event_names() -> Iterator[tuple[str, str]]:
    """Yield (file, name) of every event that the program makes: calls of Event and of replace, and their tables."""
    for path in sorted((PROJECT / "orchestrator").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                noun = node.value.partition(".")[0]
                if re.fullmatch(r"[a-z]+\.[a-z]+", node.value) and noun in {name.partition(".")[0] for name in EVENTS}:
                    yield path.name, node.value
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Event":
                named = [word.value for word in node.keywords if word.arg == "name"] or node.args[1:2]
                if named and isinstance(named[0], ast.Constant):
                    yield path.name, str(named[0].value)


def test_every_event_of_the_program_is_declared() -> None:
    # what else begins with a noun of the events: failpoints, files, keys of the catalog
    others = {*FAILPOINTS, "run.lock", "retention.rules", "prune.last", "notify.json"}
    found = {name for _, name in event_names()} - others
    assert set(EVENTS) - found == set(), "declared, and never made"
    assert found - set(EVENTS) == set(), "made, and not declared in model/events.py"


def test_every_event_and_severity_is_on_the_page() -> None:
    assert all(f"| `{name}` |" in EVENT_PAGE.text for name in EVENTS)
    assert all(f"`{severity}`" in EVENT_PAGE.text for severity in SEVERITIES)


def test_every_variable_that_the_program_reads_is_on_its_page() -> None:
    read = set()
    for path in (PROJECT / "orchestrator").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        read |= set(re.findall(r"environ(?:\.get\(|\[)\"([A-Za-z_]+)\"", text))
    assert "RESGUARDO_STATE" in read
    assert {name for name in read if f"`{name}`" not in ENVIRONMENT.text} == set()
