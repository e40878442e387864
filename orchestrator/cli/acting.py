"""What commands that act share: recover first, run, report, and never end silently."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

import click

from orchestrator.cli.context import CliContext
from orchestrator.cli.crash import leave_out
from orchestrator.cli.output import put
from orchestrator.model.errors import PolicyInvalid, ResguardoError
from orchestrator.model.point import Point
from orchestrator.model.record import RunRecord

if TYPE_CHECKING:
    from orchestrator.app import App
    from orchestrator.policy import Config
    from orchestrator.runs.toolbox import Toolbox


_Done = TypeVar("_Done")


def open_app(ctx: CliContext, *, acting: bool = False) -> App:
    """Wire the program. An acting command that finds a bad policy says so through the last good one's channels."""
    from orchestrator.app import App  # noqa: PLC0415 - start-up
    from orchestrator.report.progress import progress_for  # noqa: PLC0415

    progress = progress_for(quiet=ctx.json or ctx.verbosity < 0 or not acting)
    try:
        app = App.open(ctx.policy_path, progress, _command())
    except PolicyInvalid as error:
        if acting:
            from orchestrator.app import report_invalid  # noqa: PLC0415

            _say_undelivered(report_invalid(ctx.policy_path, error, attended=attended()))
        raise
    leave_out(app.secrets.known)
    return app


def attended() -> bool:
    """Whether somebody reads what we print: under cron neither stream is a terminal."""
    return sys.stdin.isatty() or sys.stderr.isatty()


def _say_undelivered(errors: Iterable[str]) -> None:
    for error in errors:
        put(f"resguardo: a notification was not delivered, the next run tries again: {error}", sys.stderr)


def _command() -> str:
    """Return the words of the command under way, such as `catalog rebuild`: the run lock says who holds it."""
    return click.get_current_context().command_path.partition(" ")[2]


def act(ctx: CliContext, app: App, command: str, work: Callable[[Toolbox], RunRecord]) -> int:
    """Recover what dead runs left, do the work, print its record, deliver what waits; return its exit code."""
    record = recorded(app, command, work)
    if ctx.json:
        from orchestrator.report.document import run_document  # noqa: PLC0415 - start-up

        ctx.emit(command, run_document(record))
    else:
        from orchestrator.report.run_text import run_text  # noqa: PLC0415

        show(ctx, run_text(record), record.exit_code)
    return record.exit_code


def recorded(app: App, command: str, work: Callable[[Toolbox], RunRecord]) -> RunRecord:
    """Do the work between recovery and delivery."""
    from orchestrator.runs import reconcile  # noqa: PLC0415 - start-up

    with _never_silent(app, command):
        reconcile.reconcile(app.box)
        return work(app.box)


def noted(app: App, command: str, work: Callable[[Toolbox], _Done]) -> _Done:
    """Do work that is no run (init, rebuild, recover), with one event of how it ended."""
    from orchestrator.runs import recording  # noqa: PLC0415 - start-up

    with _never_silent(app, command):
        done = work(app.box)
        recording.noted(app.box, command)
        return done


@contextmanager
def _never_silent(app: App, command: str) -> Iterator[None]:
    """Record an error that no run recorded, and raise it on; then deliver what waits and close the program."""
    from orchestrator.runs import notify, recording  # noqa: PLC0415 - start-up

    try:
        yield
    except ResguardoError as error:
        recording.refused(app.box, command, error, attended=attended())
        raise
    except Exception as error:
        recording.crashed(app.box, command, error)
        raise
    finally:
        _say_undelivered(notify.deliver(app.box.catalog, app.box.notifier, app.clock()))
        app.close()


def show(ctx: CliContext, text: str, code: int) -> None:
    """Print a summary: on a terminal always; elsewhere (cron) only what did not go well, on stderr."""
    if code:
        ctx.warn(text)
    elif sys.stdout.isatty() or ctx.verbosity > 0:
        ctx.say(text)


def job_of(
    config: Config, job: str | None, does: str, services: Sequence[str], wait: float
) -> tuple[tuple[str, ...], float]:
    """Return the services and the patience of a job; a scheduled job waits for the lock, a command by hand does not."""
    if job is None:
        return tuple(services), wait
    from orchestrator.model.errors import UsageError  # noqa: PLC0415 - start-up

    found = config.policy.jobs.get(job)
    if found is None or found.do != does:
        known = ", ".join(name for name, each in config.policy.jobs.items() if each.do == does)
        what = f"the job {job!r} does {found.do}, not {does}" if found else f"policy.yml has no job {job!r}"
        raise UsageError(what, f"jobs that do {does}: {known or 'none'}")
    return tuple(services) or tuple(found.services), wait or config.policy.timeout


def points_of(app: App, service: str | None) -> list[Point]:
    """Return the restore points, newest first; services that are not in services.yml any more are marked retired.

    Raises UsageError for a service that is neither in services.yml nor has restore points.
    """
    from orchestrator.planning.select import nothing_of  # noqa: PLC0415 - start-up

    active = {source.service for source in app.box.sources}
    points = app.catalog.points(service=service)
    if service and not points and service not in active:
        raise nothing_of(service, active, app.catalog.points(items=False))
    return [point if point.service in active else replace(point, retired=True) for point in points]


def files_of(app: App, point: Point) -> dict[str, str]:
    """Read policy.yml and services.yml as they were out of a point's manifest in the repository."""
    from orchestrator.model.manifest import LIMIT, decode  # noqa: PLC0415 - start-up
    from orchestrator.model.names import MANIFEST_FILE  # noqa: PLC0415

    repository = app.box.repository(point)
    with app.box.looking() as undo:
        return dict(decode(repository.read(point.snapshots["commit"], f"/{MANIFEST_FILE}", undo, limit=LIMIT)).files)


def parse_time(text: str, zone: str) -> datetime:
    """Read an ISO 8601 time; without an offset it is in the policy's time zone. Raises UsageError."""
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - start-up

    from orchestrator.model.errors import UsageError  # noqa: PLC0415

    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"--at {text!r} is no time", "such as 2026-11-03, 2026-11-03T09:00 or 2026-11-03T09:00Z"
        ) from None
    return time if time.tzinfo else time.replace(tzinfo=ZoneInfo(zone))
