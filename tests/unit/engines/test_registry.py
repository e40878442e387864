"""Finding engines: by module, by entry point, and importing no more than is asked for."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from orchestrator import engines
from orchestrator.model.errors import UsageError


def modules_after(code: str) -> set[str]:
    program = f"import sys\n{code}\nprint('\\n'.join(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return set(ran.stdout.split())


def test_names_are_known_without_importing_engines() -> None:
    loaded = modules_after("from orchestrator import engines; assert 'sqlite' in engines.names(); engines.Options()")
    assert not {name for name in loaded if name.startswith("orchestrator.engines.")}
    assert "pydantic" not in loaded


def test_one_engine_is_imported_alone() -> None:
    loaded = modules_after("from orchestrator import engines; engines.load('sqlite')")
    assert "orchestrator.engines.sqlite" in loaded
    assert not {name for name in loaded if name.startswith("orchestrator.engines.postgresql")}
    assert not loaded & {"psycopg", "sqlite3", "docker", "rich"}


def test_every_engine_is_loaded_by_its_name() -> None:
    found = {name: engines.load(name) for name in engines.names()}
    assert set(found) >= {"files", "sqlite"}
    assert all(engine.name == name for name, engine in found.items())
    assert not [name for name in found if name.startswith("_")]


def test_options_are_a_mapping_of_models() -> None:
    options = engines.Options()
    assert set(options) == set(engines.names())
    assert len(options) == len(engines.names())
    assert "path" in options["sqlite"].model_fields
    assert options.get("no-such") is None


@pytest.mark.parametrize(
    ("name", "hint"), [("sqlit", "did you mean 'sqlite'?"), ("oracle", "engines are: "), ("_common", "engines are: ")]
)
def test_unknown_engine(name: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        engines.load(name)
    assert caught.value.message == f"unknown engine {name!r}"
    assert str(caught.value.hint).startswith(hint)


def test_entry_point_is_loaded_and_must_bear_its_name() -> None:
    entry = EntryPoint("sqlite", "orchestrator.engines.sqlite:ENGINE", engines.GROUP)
    assert engines._from_entry(entry) is engines.load("sqlite")
    with pytest.raises(UsageError, match="does not bear that name"):
        engines._from_entry(EntryPoint("other", "orchestrator.engines.sqlite:ENGINE", engines.GROUP))
    with pytest.raises(UsageError, match="cannot be loaded"):
        engines._from_entry(EntryPoint("gone", "no_such_module:ENGINE", engines.GROUP))
