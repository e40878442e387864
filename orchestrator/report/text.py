"""Tables and details of restore points, plans, retention and status, as plain text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from orchestrator.model.execution import Finding
from orchestrator.model.point import Point, PointItem, PointSource
from orchestrator.model.record import RestoredItem, RunRecord
from orchestrator.planning.backup import BackupPlan, PlannedPoint, PlannedSource
from orchestrator.planning.preflight import preflight
from orchestrator.planning.restore import RestorePlan, RestoreStep
from orchestrator.planning.retention import Decision
from orchestrator.planning.simulate import Simulation
from orchestrator.planning.tidy import RetentionPlan
from orchestrator.report.preflight import preflight_text
from orchestrator.report.run_text import causes_text
from orchestrator.report.run_text import run_text as run_text  # noqa: PLC0414 - one door for all texts
from orchestrator.report.table import fields, table
from orchestrator.report.units import age, count, duration, lines, safe, size, when

_MOST_COUNTS = 20


def points_table(points: Sequence[Point], now: datetime, host: str = "") -> str:
    """Return the table of `list`, in the order given. host: this policy's; another's points say whose they are."""
    if not points:
        return "no restore points"
    rows = [
        (
            point.id,
            when(point.time),
            age(point.time, now),
            state_word(point, host),
            size(point.bytes),
            point.repository,
            ", ".join(_held(source) for source in point.sources),
        )
        for point in points
    ]
    return table(("POINT", "TIME", "AGE", "STATE", "SIZE", "REPOSITORY", "SOURCES"), rows, right=(4,))


def _held(source: PointSource) -> str:
    return source.name if source.outcome == "taken" else f"{source.name} ({source.outcome})"


def state_word(point: Point, host: str = "") -> str:
    """Return a point's state with its flags: `lost`, `partial`, `committed, damaged`, `proven, retired`, and so on.

    host: this policy's, when it is to be said whose a point of another is.
    """
    word = "lost" if point.lost else "partial" if point.partial else point.state.word
    damaged = point.damaged and not point.lost
    flags = [flag for flag, holds in (("damaged", damaged), ("retired", point.retired)) if holds]
    foreign = [f"of host {point.host}"] if host and point.host != host else []
    return ", ".join([word, *flags, *foreign])


def point_text(point: Point, now: datetime) -> str:
    """Return one point whole, as `show` prints it."""
    head = fields(
        [
            ("point", point.id),
            ("host", point.host),
            ("time", f"{when(point.time)} ({age(point.time, now)} ago)"),
            ("ended", when(point.ended)),
            ("state", state_word(point)),
            ("size", size(point.bytes)),
            ("repository", point.repository),
            ("commit", point.snapshots.get("commit", "")),
        ]
    )
    rows = [_item_row(source, item) for source in point.sources for item in source.items]
    parts = [head]
    if rows:
        heads = ("SOURCE", "ITEM", "ENGINE", "STATE", "SIZE", "SNAPSHOT", "SHA-256", "PATH")
        parts.append(table(heads, rows, right=(4,)))
    flaws = [_flaw(source) for source in point.sources if source.outcome != "taken"]
    counted = [line for source in point.sources for item in source.items if (line := _counts(source, item))]
    return "\n\n".join([*parts, *("\n".join(found) for found in (flaws, counted) if found)])


def _flaw(source: PointSource) -> str:
    return f"{safe(source.name)} {source.outcome}: {lines(source.error or 'no reason was given')}"


def _item_row(source: PointSource, item: PointItem) -> tuple[str, ...]:
    state = source.outcome if source.outcome != "taken" else source.state.word
    digest = (item.sha256 or "-")[:12]
    return (source.name, item.name, source.engine, state, size(item.bytes), item.snapshot[:8], digest, item.path)


def _counts(source: PointSource, item: PointItem) -> str:
    if not item.counts:
        return ""
    shown = [f"{safe(name)} {number}" for name, number in sorted(item.counts.items())[:_MOST_COUNTS]]
    rest = len(item.counts) - len(shown)
    return f"counts of {safe(source.name)}/{safe(item.name)}: {', '.join(shown)}{f' and {rest} more' if rest else ''}"


def plan_text(plan: BackupPlan, retention: RetentionPlan | None = None, seen: datetime | None = None) -> str:
    """Return what a backup would do, and what retention would do after it.

    seen: when the repository was last listed; retention is foreseen from what was known then.
    """
    rows = [row for point in plan.points for source in point.sources for row in _plan_rows(point, source)]
    processes = sum(point.restic_processes for point in plan.points)
    head = fields(
        [
            ("backup of", plan.host),
            ("into", plan.repository),
            ("makes", count(len(plan.points), "restore point")),
            ("restic runs", f"{processes}, {plan.parallel} sources side by side"),
            ("retention", f"due: {plan.forget}" if plan.forget else "not due"),
            ("check", f"due: {plan.check}" if plan.check else "not due"),
        ]
    )
    body = table(("SOURCE", "ITEM", "ENGINE", "TIER", "WAY", "ABOUT"), rows, right=(5,)) if rows else ""
    seen_before = preflight_text([preflight(source) for point in plan.points for source in point.sources])
    notes = [_finding(found.level, "", found.message, found.hint) for found in plan.findings]
    for point in plan.points:
        for source in point.sources:
            name = f"{source.source.id}: "
            notes += [_finding(found.level, name, found.message, found.hint) for found in _findings(source)]
            if source.trouble:
                notes.append(_finding("error", name, source.trouble.message, source.trouble.hint))
    foreseen = _foreseen(retention, seen) if retention else ""
    return "\n\n".join(part for part in (head, seen_before, body, "\n".join(notes), foreseen) if part)


def _foreseen(plan: RetentionPlan, seen: datetime | None) -> str:
    known = f"repository {plan.repository} was last listed {when(seen)}" if seen else "it was never listed"
    return f"retention after this backup, as far as the catalog knows ({known})\n\n{retention_text(plan)}"


def _findings(source: PlannedSource) -> list[Finding]:
    sets = [planned.paths for planned in source.items if planned.paths]
    paths = [found for each in sets for found in (*each.findings, *each.lacking)]
    return [*source.findings, *paths]


def _plan_rows(point: PlannedPoint, source: PlannedSource) -> list[tuple[str, ...]]:
    name, engine, tier = source.source.id, source.source.engine, point.tier
    if source.trouble or not source.items:
        return [(name, "-", engine, tier, "cannot be dumped", "-")]
    return [
        (name, item.item.name, engine, tier, item.route, "?" if item.item.bytes is None else size(item.item.bytes))
        for item in source.items
    ]


def _finding(level: str, where: str, message: str, hint: str | None) -> str:
    text = f"{level}: {safe(where)}{lines(message)}"
    return f"{text}\n  HINT: {lines(hint)}" if hint else text


def restore_plan_text(plan: RestorePlan) -> str:
    """Return what a restore would do."""
    rows = [
        (
            step.source.name,
            step.item.name,
            step.point.id,
            size(step.item.bytes),
            step.target,
            _place(step),
        )
        for step in plan.steps
    ]
    body = table(("SOURCE", "ITEM", "POINT", "SIZE", "TO", "IN PLACE OF"), rows, right=(3,))
    notes = "\n".join(f"note: {safe(note)}" for note in plan.notes)
    head = f"restore of {plan.service}: {count(len(plan.steps), 'item')}, {'at most ' * plan.picks}{size(plan.bytes)}"
    return "\n\n".join(part for part in (head, body, notes) if part)


def restored_text(record: RunRecord, items: Sequence[RestoredItem]) -> str:
    """Return what a restore did, item by item, and the time it took."""
    heads = ("SOURCE", "ITEM", "STATE", "SIZE", "TOOK", "AT", "ORIGINAL KEPT AS")
    rows = [
        (done.source, done.item, done.state, size(done.bytes), duration(done.seconds), done.target, done.kept or "-")
        for done in items
    ]
    notes = causes_text(
        [(f"{done.source}/{done.item} {done.state}", done.error, done.hint) for done in items if done.error]
    )
    # The run's error is that of its items, which stands below item by item.
    told = all(done.error in record.error for done in items) and bool(notes)
    for done in items:
        where = f"{done.source}/{done.item}: "
        notes += [_finding(found.level, where, found.message, found.hint) for found in done.findings]
    body = table(heads, rows, right=(3, 4)) if rows else ""
    head = run_text(replace(record, error="", hint=None) if told else record)
    return "\n\n".join(part for part in (head, body, "\n".join(notes)) if part)


def _place(step: RestoreStep) -> str:
    if not step.original:
        return "-"
    known = {True: f"kept as {step.kept}", False: "nothing is there now", None: f"if there, kept as {step.kept}"}
    return f"{step.original} ({known[step.there]})"


def retention_text(plan: RetentionPlan, *, force: bool = False) -> str:
    """Return retention's decisions in one repository, each with its reason.

    force: they are to be carried out although the guard refuses.
    """
    parts = [_series_text(plan.repository, *series) for series in plan.series]
    if plan.retired:
        parts.append(f"retired, all restore points stay: {safe(', '.join(plan.retired))}")
    if plan.gone:
        parts.append(f"no longer in the repository: {safe(', '.join(point.id for point in plan.gone))}")
    if plan.orphans:
        rows = [("remove" if found.ours else "leave", found.place, found.reason) for found in plan.orphans]
        parts.append("snapshots without a restore point\n" + table(("DO", "PLACE", "WHY"), rows))
    if plan.foreign:
        parts.append(
            f"left alone, of another version of resguardo: {count(len(plan.foreign), 'snapshot')}"
            f" ({', '.join(snapshot[:8] for snapshot in plan.foreign)})"
        )
    if plan.brakes and force:
        parts += [f"--force would go on although {safe(text)}" for text in plan.brakes]
    elif plan.brakes:
        hint = "if all of this is wanted, `resguardo prune --force` does it"
        if plan.lacks:
            hint = "`resguardo catalog rebuild` first: it finds snapshots that got other IDs"
        parts += ["\n".join([*(f"nothing would be removed: {safe(text)}" for text in plan.brakes), f"  HINT: {hint}"])]
    return "\n\n".join(parts) or f"repository {plan.repository}: nothing to decide"


def _series_text(repository: str, service: str, tier: str, decision: Decision) -> str:
    rows = [(kept.point.time, "keep", kept.point.id, ", ".join(kept.reasons)) for kept in decision.keep]
    rows += [(gone.point.time, "forget", gone.point.id, gone.reason) for gone in decision.remove]
    rows.sort(reverse=True)
    head = (
        f"{service}, tier {tier}, in {repository}: forget {len(decision.remove)} of {count(len(rows), 'restore point')}"
    )
    return f"{head}\n" + table(
        ("DO", "POINT", "TIME", "WHY"), [(do, name, when(time), why) for time, do, name, why in rows]
    )


def simulation_text(service: str, tier: str, simulation: Simulation) -> str:
    """Return what a policy keeps of one service and tier over time."""
    head = fields(
        [
            ("of", f"{service}, tier {tier}"),
            ("until", when(simulation.until)),
            ("taken", count(simulation.taken, "restore point")),
            ("kept", count(len(simulation.kept), "restore point")),
            ("at most", f"{count(simulation.most, 'restore point')}, at {when(simulation.most_at)}"),
        ]
    )
    counted = table(("RULE", "POINTS"), [(rule, str(number)) for rule, number in simulation.counts.items()], right=(1,))
    rows = [(when(kept.time), ", ".join(kept.reasons)) for kept in simulation.kept]
    return "\n\n".join((head, counted, table(("TIME", "WHY"), rows)))
