"""docs/reference is what the program says of itself, and its examples are documents."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from jsonschema import Draft202012Validator

from orchestrator.report.bodies import DOCUMENTS
from tests.docs.pages import PROJECT

FOLDER = PROJECT / "docs" / "reference" / "documents"


def test_the_reference_is_up_to_date() -> None:
    argv = [sys.executable, str(PROJECT / "scripts" / "reference"), "--check"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.returncode) == ("up to date\n", 0), done.stdout + done.stderr


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_document_has_an_example_that_fits(name: str) -> None:
    schema = json.loads((FOLDER / f"{name}.schema.json").read_text(encoding="utf-8"))
    example = json.loads((FOLDER / f"{name}.example.json").read_text(encoding="utf-8"))
    Draft202012Validator(schema).validate(example)
    assert example["schema"] == f"resguardo/{name}/1"
