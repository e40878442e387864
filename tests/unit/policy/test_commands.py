"""`validate` and `schema` as commands."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from orchestrator.cli.context import CliContext
from orchestrator.cli.schema import command as schema
from orchestrator.cli.validate import command as validate
from orchestrator.cli.verify import command as verify
from orchestrator.model.errors import PolicyInvalid, Precondition, UsageError
from orchestrator.policy import Config, load
from orchestrator.policy.schema import render, schemas
from tests.unit.policy.files import OPTIONS, POLICY, SERVICES, write


@dataclass
class Context(CliContext):
    """The real context with the engines of these tests."""

    def engine_options(self) -> dict[str, type]:
        """Return the tests' own."""
        return dict(OPTIONS)

    def load(self) -> Config:
        """Load with the tests' engines."""
        return load(self.policy_path, OPTIONS, {})


def run(path: str, *argv: str, as_json: bool = False, of: str = "validate") -> Result:
    command = validate if of == "validate" else schema
    return CliRunner().invoke(command, argv, obj=Context(path, json=as_json), standalone_mode=False)


def test_a_valid_policy_is_summed_up(tmp_path: Path) -> None:
    path = write(tmp_path, services=SERVICES + "  off: {enabled: false, paths: [x]}\n")
    result = run(path)
    assert result.return_value == 0
    assert result.output == f"{path} is valid: 2 services (1 disabled), 2 sources, repository local\n"


def test_a_valid_policy_as_json(tmp_path: Path) -> None:
    document = json.loads(run(write(tmp_path), as_json=True).output)
    assert document["schema"] == "resguardo/validate/1"
    assert document["valid"] is True
    assert document["problems"] == []
    assert document["services"] == [
        {
            "name": "shop",
            "enabled": True,
            "sources": [
                {"name": "main", "engine": "book", "tier": "default"},
                {"name": "files", "engine": "files", "tier": "default"},
            ],
        }
    ]


def test_problems_go_to_the_handler(tmp_path: Path) -> None:
    result = run(write(tmp_path, POLICY + "parallel: 0\n"))
    assert isinstance(result.exception, PolicyInvalid)
    assert result.output == ""


def test_problems_as_json(tmp_path: Path) -> None:
    path = write(tmp_path, POLICY + "paralel: 0\n")
    result = run(path, as_json=True)
    assert result.return_value == 2
    document = json.loads(result.output)
    assert document["valid"] is False
    assert document["problems"] == [
        {
            "file": path,
            "line": 10,
            "column": 1,
            "key": "paralel",
            "message": "unknown key",
            "hint": "did you mean 'parallel'?",
        }
    ]


@pytest.mark.parametrize("name", ["policy", "services"])
def test_schema_prints(name: str) -> None:
    assert run("", name, of="schema").output == render(schemas(OPTIONS)[name])


def test_schema_writes_both(tmp_path: Path) -> None:
    assert run("", "--write", str(tmp_path), of="schema").exception is None
    for name in ("policy", "services"):
        assert (tmp_path / f"{name}.schema.json").read_text(encoding="utf-8") == render(schemas(OPTIONS)[name])


def test_schema_needs_to_know_which() -> None:
    assert isinstance(run("", of="schema").exception, UsageError)


def test_schema_into_no_folder(tmp_path: Path) -> None:
    error = run("", "--write", str(tmp_path / "none"), of="schema").exception
    assert isinstance(error, Precondition)
    assert error.message == f"cannot write {tmp_path}/none/policy.schema.json: no such file or directory"


@pytest.mark.parametrize("share", ["150%", "0%", "9/7", "0/7", "10", "some", ""])
def test_verify_takes_a_share_by_the_rule_of_the_policy(share: str) -> None:
    result = CliRunner().invoke(verify, ["--data", share], obj=CliContext("/nonexistent"), standalone_mode=False)
    assert isinstance(result.exception, UsageError)
    assert result.exception.message == f"--data: not a share of the data: {share!r}"
    assert result.exception.hint == "write a percentage such as 5%, a part such as 2/7, or all"
