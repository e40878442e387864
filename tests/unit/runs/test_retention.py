"""Retention as a use case: what it refuses and says, what it foresees, what a lost catalog changes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from orchestrator.model.engine import Source
from orchestrator.model.execution import Undo
from orchestrator.planning.backup import PlannedPoint, PlannedSource, Trouble
from orchestrator.planning.tidy import RetentionPlan
from orchestrator.policy.ruleset import RuleSet
from orchestrator.report.run_text import run_text
from orchestrator.report.text import retention_text
from orchestrator.runs import rebuild, retention
from orchestrator.runs.retention_plan import look, preview
from orchestrator.runs.rules import to_tell
from orchestrator.runs.simulation import simulate_all
from orchestrator.runs.toolbox import Toolbox
from tests.unit.runs.memory import NOW, POLICY, MemoryRepository, manifest_of, toolbox

UNDO = cast("Undo", None)
EVERYTHING = "{last: 100}"


@contextmanager
def opened(folder: Path, repository: object, **more: Any) -> Iterator[Toolbox]:
    box = toolbox(folder, repository, **more)
    try:
        yield box
    finally:
        cast("Any", box.catalog).close()


def looked(box: Toolbox, repository: MemoryRepository) -> RetentionPlan:
    return look(box, cast("Any", repository), "", UNDO)


def filled(count: int, *, services: tuple[str, ...] = ("shop",), told: str = "") -> MemoryRepository:
    repository = MemoryRepository()
    for service in services:
        for age in range(count):
            repository.store(manifest_of(age, service, told))
    return repository


def encoded(folder: Path, text: str) -> str:
    with opened(folder, MemoryRepository(), rules=text) as box:
        return RuleSet.in_force(box.config.policy, "local").encode()


def test_a_braked_prune_says_what_would_go_why_and_what_to_do(tmp_path: Path) -> None:
    repository = filled(10)
    with opened(tmp_path, repository, rules=EVERYTHING) as box:
        retention.prune(box, force=False, wait=0)
    with opened(tmp_path, repository, rules="{last: 2}") as box:
        record = retention.prune(box, force=False, wait=0)
    text = run_text(record)
    assert (record.result, record.exit_code, len(repository.stored)) == ("refused", 1, 20)
    assert "8 of 10 restore points of shop (tier default)" in text
    assert "the guard lets 30 % of a service go at once (retention.guard.max_forget)" in text
    assert "HINT: `resguardo prune --dry-run` shows every decision" in text
    assert "`resguardo prune --force` goes on" in text
    assert text.count("nothing was removed from repository local") == 1
    assert [event.name for event in record.events] == ["retention.braked", "run.failed"]


def test_force_does_what_the_preview_of_force_showed(tmp_path: Path) -> None:
    repository = filled(10)
    with opened(tmp_path, repository, rules=EVERYTHING) as box:
        retention.prune(box, force=False, wait=0)
    with opened(tmp_path, repository, rules="{last: 2}") as box:
        plan = looked(box, repository)
        shown, forced = retention_text(plan), retention_text(plan, force=True)
        record = retention.prune(box, force=True, wait=0)
    assert "nothing would be removed: " in shown
    assert "HINT: " in shown
    assert "--force would go on although " in forced
    assert "nothing would be removed" not in forced
    assert {gone.point for gone in record.forgotten} == {point.id for point, _ in plan.removing}
    assert len(repository.stored) == 4


def test_a_lost_catalog_does_not_take_ageing_for_a_changed_rule(tmp_path: Path) -> None:
    told = encoded(tmp_path, "{last: 3}")
    repository = filled(10, told=told)
    shutil.rmtree(tmp_path / "state")
    with opened(tmp_path, repository, rules="{last: 3}") as box:
        rebuild.rebuild_all(box)
        plan = looked(box, repository)
    assert plan.brakes == ()
    assert len(plan.removing) == 7


def test_a_lost_catalog_does_not_let_a_changed_rule_pass(tmp_path: Path) -> None:
    """Not even one that runs made since, whose retention was refused: their manifests say which rules ran."""
    told = encoded(tmp_path, EVERYTHING)
    repository = filled(10, told=told)
    shutil.rmtree(tmp_path / "state")
    with opened(tmp_path, repository, rules="{last: 3}") as box:
        rebuild.meet(box, cast("Any", repository), UNDO)
        assert "7 of 10 restore points of shop" in looked(box, repository).brakes[0]


def test_a_manifest_without_rules_or_with_forged_ones_vouches_for_nothing(tmp_path: Path) -> None:
    for told in ("", "{}", "[", '{"tiers": {}, "zone": "UTC", "keep_proven": 1}', '{"tiers": 1, "zone": "x"}'):
        repository = filled(10, told=told)
        with opened(tmp_path, repository, rules="{last: 3}") as box:
            assert looked(box, repository).brakes
        shutil.rmtree(tmp_path / "state")


def test_the_newest_readable_point_is_met_when_the_newest_is_broken(tmp_path: Path) -> None:
    repository = filled(2)
    del repository.manifests[f"commit-{manifest_of(0).point}"]
    with opened(tmp_path, repository) as box:
        rebuild.meet(box, cast("Any", repository), UNDO)
        assert [point.id for point in box.catalog.points()] == [manifest_of(1).point]


def test_a_broken_commit_is_read_and_told_once(tmp_path: Path) -> None:
    repository = filled(3)
    broken = f"commit-{manifest_of(1).point}"
    del repository.manifests[broken]
    with opened(tmp_path, repository) as box:
        for _ in range(3):
            plan = looked(box, repository)
        assert repository.reads.count(broken) == 1
        assert [event.message for event in box.catalog.events(name="point.broken")] == [
            f"{manifest_of(1).point} is not a restore point: {broken} cannot be read"
        ]
        assert [(orphan.place, orphan.ours) for orphan in plan.orphans] == [(manifest_of(1).point, False)]
        record = retention.prune(box, force=False, wait=0)
        assert (record.exit_code, record.events[-1].name) == (0, "run.succeeded")
        rebuild.rebuild_all(box)
        assert repository.reads.count(broken) == 2
        assert len(box.catalog.events(name="point.broken")) == 1


def test_a_broken_commit_stands_in_the_record_of_the_run_that_met_it(tmp_path: Path) -> None:
    repository = filled(3)
    del repository.manifests[f"commit-{manifest_of(1).point}"]
    with opened(tmp_path, repository) as box:
        record = retention.prune(box, force=False, wait=0)
        assert [event.name for event in record.events] == ["point.broken", "run.succeeded"]
        assert [event.run for event in box.catalog.events(name="point.broken")] == [record.id]


def test_a_broken_commit_whose_snapshots_changed_is_read_again(tmp_path: Path) -> None:
    repository = filled(2)
    whole = manifest_of(1)
    missing = repository.stored.pop(f"dumps-{whole.point}")
    with opened(tmp_path, repository) as box:
        assert len(looked(box, repository).orphans) == 1
        repository.stored[missing.id] = missing
        assert looked(box, repository).orphans == ()
        assert whole.point in {point.id for point in box.catalog.points()}


def test_a_simulation_follows_the_repositorys_own_rules(tmp_path: Path) -> None:
    own = "password: {env: NONE}, retention: {default: {last: 2}}"
    with opened(
        tmp_path,
        filled(5),
        policy=POLICY.replace("password: {{env: NONE}}", own.replace("{", "{{").replace("}", "}}")),
        rules="{last: 9}",
    ) as box:
        looked(box, filled(5))
        ((_, _, found),) = simulate_all(box, "9d")
    assert len(found.kept) == 2


class Untouchable:
    """A repository that nobody may ask anything."""

    name = "local"


def test_a_preview_asks_the_catalog_alone_and_counts_what_is_coming(tmp_path: Path) -> None:
    repository = filled(3)
    with opened(tmp_path, repository) as box:
        looked(box, repository)
    with opened(tmp_path, Untouchable()) as box:
        source = PlannedSource(box.sources[0], ())
        plan = preview(box, cast("Any", Untouchable()), [PlannedPoint("shop", "default", (source,))])
        before = box.catalog.events()
    assert [point.id for point, _ in plan.removing] == [manifest_of(2).point]
    ((_, _, decision),) = plan.series
    assert decision.keep[0].point.id == "shop.default@this-backup"
    assert decision.keep[0].reasons == ("last",)
    assert before == []


def test_a_source_that_would_fail_makes_the_coming_point_partial(tmp_path: Path) -> None:
    with opened(tmp_path, Untouchable()) as box:
        source: Source = box.sources[0]
        failed = PlannedSource(source, (), Trouble("gone", None, 4))
        plan = preview(box, cast("Any", Untouchable()), [PlannedPoint("shop", "default", (failed,))])
    ((_, _, decision),) = plan.series
    assert decision.keep[0].point.partial


def test_a_service_that_was_away_comes_back_under_its_own_last_rules(tmp_path: Path) -> None:
    """What was forced upon others meanwhile was never weighed against its points."""
    repository = filled(6, services=("shop", "wiki"))
    with opened(tmp_path, repository, rules="{last: 9}", services=("shop", "wiki")) as box:
        retention.prune(box, force=False, wait=0)
    with opened(tmp_path, repository, rules="{last: 1}", services=("wiki",)) as box:
        retention.prune(box, force=True, wait=0)
        told = to_tell(box)
    with opened(tmp_path, repository, rules="{last: 1}", services=("shop", "wiki")) as box:
        assert "5 of 6 restore points of shop" in looked(box, repository).brakes[0]
    shutil.rmtree(tmp_path / "state")
    repository.store(replace(manifest_of(-0.5, "wiki"), rules=told))
    with opened(tmp_path, repository, rules="{last: 1}", services=("shop", "wiki")) as box:
        assert "5 of 6 restore points of shop" in looked(box, repository).brakes[0]
        assert "wiki" not in looked(box, repository).brakes[0]


def test_a_new_service_ages_under_the_rules_that_ran_before_it(tmp_path: Path) -> None:
    repository = filled(1, services=("wiki",))
    with opened(tmp_path, repository, rules="{last: 1}", services=("wiki",)) as box:
        retention.prune(box, force=False, wait=0)
    for hours in range(9):
        repository.store(manifest_of(-1 - hours / 24))
    with opened(tmp_path, repository, rules="{last: 1}", services=("shop", "wiki")) as box:
        plan = looked(replace(box, clock=lambda: NOW + timedelta(days=2)), repository)
        assert (plan.brakes, len(plan.removing)) == ((), 8)


def test_rules_as_they_were_kept_before_hold_for_every_service(tmp_path: Path) -> None:
    repository = filled(6, services=("shop", "wiki"))
    with opened(tmp_path, repository, rules="{last: 1}", services=("shop", "wiki")) as box:
        box.catalog.put("retention.rules.local", encoded(tmp_path, "{last: 1}"))
        assert looked(box, repository).brakes == ()
        box.catalog.put("retention.rules.local", encoded(tmp_path, EVERYTHING))
        assert "of shop (tier default), 5 of 6 restore points of wiki" in looked(box, repository).brakes[0]


def test_a_service_that_was_away_ages_by_its_own_last_rules(tmp_path: Path) -> None:
    repository = filled(7, services=("shop", "wiki"))
    with opened(tmp_path, repository, rules="{last: 2}", services=("shop", "wiki")) as box:
        retention.prune(box, force=True, wait=0)
    with opened(tmp_path, repository, rules="{last: 1}", services=("wiki",)) as box:
        retention.prune(box, force=True, wait=0)
    for hours in range(5):
        repository.store(manifest_of(hours / 24 + 0.1))
    with opened(tmp_path, repository, rules="{last: 2}", services=("shop", "wiki")) as box:
        plan = looked(box, repository)
        assert (plan.brakes, len(plan.removing)) == ((), 5)
