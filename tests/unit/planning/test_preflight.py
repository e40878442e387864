from __future__ import annotations

import pytest

from orchestrator.model.engine import Facts, Item, Source
from orchestrator.model.errors import Precondition, ResguardoError, RightsMissing, ServerUnreachable, ToolMissing
from orchestrator.model.ports import SourceHistory
from orchestrator.model.secret import Secret
from orchestrator.planning.backup import Probed, plan_source
from orchestrator.planning.preflight import Preflight, preflight, trouble_of
from orchestrator.report.preflight import preflight_line, preflight_text


def configured(container: str = "") -> Source:
    return Source("hub", "main", "postgresql", "default", 60.0, {}, lambda _: Secret("x"), container=container)


def seen(source: Source, *sizes: int | None, history: SourceHistory | None = None) -> Preflight:
    items = tuple(Item(source, f"db{number}", "sql", size) for number, size in enumerate(sizes))
    return preflight(plan_source(Probed(source, Facts(items, "15.18", "pg_dump 15.18"), history=history)))


def test_all_is_well() -> None:
    made = seen(configured("hub-db"), 1000, 24, history=SourceHistory(1024, 12.0, 3))
    assert made == Preflight(
        "hub/main", "postgresql", True, "enough", "15.18", "pg_dump 15.18", "hub-db", "", 2, 1024, 12.0
    )
    line = preflight_line(made)
    assert line == (
        "reachable, rights suffice, 2 items, about 1.0 KiB, usually 12 s "
        "(server 15.18, pg_dump 15.18 in container hub-db)"
    )
    head, row = preflight_text([made]).splitlines()
    assert head.split() == ["SOURCE", "REACHABLE", "RIGHTS", "SERVER", "TOOL", "RUNS", "SIZE", "USUALLY"]
    assert row.split("  ")[0] == "hub/main"
    assert row.endswith("1.0 KiB     12 s")


def test_one_unknown_size_makes_the_sum_unknown() -> None:
    made = seen(configured(), 1000, None)
    assert (made.items, made.bytes, made.seconds) == (2, None, None)
    assert "on this host" in preflight_text([made])


@pytest.mark.parametrize(
    ("error", "reachable", "rights"),
    [
        (ServerUnreachable("no answer", "start it"), False, "unknown"),
        (RightsMissing("may not read t", "GRANT pg_read_all_data"), True, "missing"),
        (ToolMissing("no pg_dump", "install it"), None, "unknown"),
        (Precondition("no such database", "correct it"), None, "unknown"),
    ],
)
def test_what_a_probe_raised(error: ResguardoError, reachable: bool | None, rights: str) -> None:
    made = preflight(plan_source(Probed(configured(), trouble=trouble_of(error))))
    assert (made.reachable, made.rights) == (reachable, rights)
    assert (made.error, made.hint) == (error.message, error.hint)
    assert (made.items, made.bytes) == (None, None)


def test_a_server_without_databases_was_reached() -> None:
    made = preflight(plan_source(Probed(configured(), Facts((), "15.18", "pg_dump 15.18"))))
    assert (made.reachable, made.rights, made.items, made.bytes) == (True, "enough", 0, 0)
    assert made.error == "nothing to back up was found"
