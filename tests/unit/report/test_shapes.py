"""The schemas say what `plain` does, close every object, and leave no key without its meaning."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from typing import Any, Literal

import pytest
from jsonschema import Draft202012Validator

from orchestrator.model.errors import Problem
from orchestrator.model.execution import Finding
from orchestrator.model.point import State
from orchestrator.model.record import RestoredItem
from orchestrator.model.secret import Secret
from orchestrator.planning.backup import BackupPlan, Limits, Probed, Trouble, plan_points
from orchestrator.planning.restore import Living, Where, plan_restore
from orchestrator.planning.retention import decide
from orchestrator.planning.status import RepositoryStatus, Status, services
from orchestrator.planning.tidy import Orphan, RetentionPlan
from orchestrator.report import bodies, keys, shapes
from orchestrator.report.document import document, plain, restore_points
from tests.unit.planning.points import Rules, point, source
from tests.unit.report.records import FAILED, RUN, START

SCHEMAS = shapes.documents()
NOW = START + timedelta(days=1)


class Colour(Enum):
    DARK_RED = 1


@dataclass(frozen=True)
class Inner:
    name: str


@dataclass(frozen=True)
class Everything:
    text: str = "x"
    number: int = 1
    share: float = 0.5
    yes: bool = True
    when: datetime = datetime(2026, 6, 15, 14, tzinfo=timezone(timedelta(hours=2)))
    maybe: datetime | None = None
    word: Literal["a", "b"] = "a"
    colour: Colour = Colour.DARK_RED
    state: State = State.PROVEN
    secret: Secret = field(default_factory=lambda: Secret("hunter22"))
    inner: Inner | None = Inner("i")
    many: tuple[Inner, ...] = (Inner("j"),)
    listed: Sequence[str] = ("k",)
    mapped: Mapping[str, str | int] = field(default_factory=lambda: {"a": 1, "b": "c"})
    chosen: frozenset[str] = frozenset({"b", "a"})


def schema_of(kind: type) -> dict[str, Any]:
    """Return the schema of a document whose body is this class."""
    described = dict.fromkeys(["schema", *kind.__annotations__, *Inner.__annotations__], "Something.")
    return shapes.documents({"test": bodies.Document((), kind)}, described)["test"]


def faults(schema: Mapping[str, Any], body: Any) -> list[str]:
    return [f"{found.json_path}: {found.message}" for found in Draft202012Validator(schema).iter_errors(body)]


def test_every_kind_of_value() -> None:
    schema = schema_of(Everything)
    good = document("test", Everything())
    assert faults(schema, good) == []
    assert (good["when"], good["colour"], good["secret"]) == ("2026-06-15T12:00:00Z", "dark_red", "***")
    wrong = {
        "text": 1, "number": 1.5, "share": "0.5", "yes": 1, "when": "2026-06-15T12:00:00+02:00", "maybe": "soon",
        "word": "c", "colour": "DARK_RED", "state": 5, "secret": "hunter22", "inner": {"name": "i", "more": 1},
        "many": [{}], "listed": "k", "mapped": {"a": None}, "chosen": [1],
    }  # fmt: skip
    assert set(wrong) == set(good) - {"schema"}
    for key, value in wrong.items():
        assert faults(schema, good | {key: value}), key


@dataclass(frozen=True)
class Positional:
    pair: tuple[str, int] = ("a", 1)


@dataclass(frozen=True)
class Opaque:
    text: bytes = b""


@pytest.mark.parametrize("kind", [Positional, Opaque])
def test_what_has_no_shape_is_refused(kind: type) -> None:
    with pytest.raises(TypeError, match=r"no names in a document|no shape for a document"):
        schema_of(kind)


def objects(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield schema
        for value in schema.values():
            yield from objects(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from objects(value)


@pytest.mark.parametrize("name", SCHEMAS)
def test_schemas_are_valid_closed_and_described(name: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[name])
    for shape in objects(SCHEMAS[name]):
        if "properties" in shape:
            assert shape["additionalProperties"] is False
            assert shape["required"] == list(shape["properties"])
            assert all(value["description"].endswith(".") for value in shape["properties"].values())
        else:
            assert isinstance(shape["additionalProperties"], dict)  # a map


def test_no_description_is_left_over() -> None:
    classes = {shape: schema["$defs"][shape] for schema in SCHEMAS.values() for shape in schema["$defs"]}
    used = {
        text["description"] for shape in [*SCHEMAS.values(), *classes.values()] for text in shape["properties"].values()
    }
    assert set(keys.KEYS.values()) - used == set()


def test_a_key_without_a_meaning_is_an_error() -> None:
    with pytest.raises(LookupError, match=r"Inner\.secret_key is in a document"):
        keys.described(Inner, "secret_key")


SOURCES = (source("main"), source("mail", "failed", State.FAILED))
POINTS = [point(START, sources=SOURCES), point(START - timedelta(days=3), sources=(source("main"),), partial=True)]
FINDING = Finding("warning", "old server", "update it")


def bodies_of_everything() -> Iterator[tuple[str, Any]]:
    """Yield (document, body) with every optional part there at least once."""
    for name in ("backup", "verify", "prune"):
        yield name, RUN
        yield name, FAILED
    yield "restore", bodies.RestoreRun(**vars(FAILED), items=[RestoredItem("main", "all", "p", "/t", "restored")])
    yield (
        "restore-plan",
        bodies.RestorePlanned(
            plan_restore("hub", POINTS, (), Where(to="/back"), {"main": Living("path", {})}, NOW, NOW)
        ),
    )
    decision = decide(POINTS, Rules(last=1), NOW, "UTC")
    series = (("hub", "default", decision),)
    orphan = Orphan(("a" * 64,), "hub/default", ours=True, reason="its run ended here")
    yield (
        "prune-plan",
        bodies.PrunePlanned([RetentionPlan("local", series, (orphan,), (POINTS[0],), ("no",), ("old",))]),
    )
    found = services(POINTS, [("hub", "default"), ("none", "default")], NOW, timedelta(days=2))
    repository = RepositoryStatus("local", "/srv/repository", NOW, None, ("note",))
    yield "status", bodies.StatusBody(Status("host", found, (repository,), RUN, 1, FAILED.events))
    yield "status", bodies.StatusBody(Status("host", (), (replace(repository, seen=None),), None, 0, ()))
    yield "validate", bodies.Validated(False, "/policy.yml", problems=[Problem("f", 1, 1, "k", "unknown key")])
    yield "doctor", bodies.Examined([bodies.ExaminedSubject(**vars(FINDING), subject="restic")])
    yield "list", bodies.Listed(POINTS)
    yield "show", bodies.Shown(POINTS[1])


@pytest.mark.parametrize(("name", "body"), list(bodies_of_everything()))
def test_bodies_fit_their_schema(name: str, body: Any) -> None:
    made = json.loads(json.dumps(document(name, body)))
    assert faults(SCHEMAS[name], made) == []


def test_a_plan_with_trouble_fits() -> None:
    from orchestrator.model.engine import Facts, Item, PathSet, Source  # noqa: PLC0415

    def configured(name: str) -> Source:
        return Source("hub", name, "files", "default", 60.0, {"password": Secret("hunter22")}, Secret)

    files = configured("files")
    paths = {"all": PathSet(("/srv",), ("*.log",), findings=(FINDING,))}
    probed = [
        Probed(files, Facts((Item(files, "all", ""),), "server 1", "tool 2", (FINDING,)), paths=paths),
        Probed(configured("main"), trouble=Trouble("server does not answer", "start it", 4)),
    ]
    plan = BackupPlan("host", "local", plan_points(probed, Limits(0, 0), {}), 2, "due", "", (FINDING,))
    decided = decide([point(START), point(START - timedelta(days=1))], Rules(last=1), START, "UTC")
    foreseen = RetentionPlan("local", (("hub", "default", decided),), (), (), ("too many",))
    made = json.loads(json.dumps(document("plan", bodies.Planned(plan, foreseen, START))))
    assert made["retention"]["series"][0]["remove"][0]["reason"] == "no keep-rule wants it"
    assert faults(SCHEMAS["plan"], made) == []
    assert "hunter22" not in json.dumps(made)


def test_a_point_looks_the_same_everywhere() -> None:
    assert restore_points(POINTS) == plain(bodies.Listed(POINTS))["restore_points"]
    assert plain(bodies.Shown(POINTS[0]))["restore_point"] == restore_points(POINTS[:1])[0]


def test_a_runs_document_adds_what_is_reckoned() -> None:
    made = document("backup", RUN)
    assert (made["seconds"], made["services"][0]["bytes"]) == (187.0, 1536 + 4096)
    assert document("restore", bodies.RestoreRun(**vars(RUN)))["seconds"] == 187.0
    assert datetime.fromisoformat(made["started"]) == START.astimezone(UTC)
