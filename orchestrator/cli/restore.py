"""`resguardo restore`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator.cli.context import CliContext
from orchestrator.model.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.app import App
    from orchestrator.model.record import RestoredItem, RunRecord
    from orchestrator.runs.restore import RestoreRequest
    from orchestrator.runs.toolbox import Toolbox

_INCLUDE = r"Only these files (restic pattern, with \* \? \[ for those letters; may be repeated)."

_DATABASE = "Only this database of sources that hold several (may be repeated)."


@click.command("restore")
@click.argument("service")
@click.option("--source", "sources", multiple=True, metavar="NAME", help="Only this source (may be repeated).")
@click.option("--database", "databases", multiple=True, metavar="NAME", help=_DATABASE)
@click.option("--latest", is_flag=True, help="The newest restore point of each tier.")
@click.option("--point", metavar="ID", help="This restore point (ID or a unique beginning of it).")
@click.option("--at", metavar="TIME", help="The newest point not after this time, such as 2026-11-03T09:00.")
@click.option("--to", "to", metavar="DIR", help="Put files below this directory (it is made).")
@click.option("--as", "name", metavar="NAME", help="Restore the database under this new name.")
@click.option("--in-place", is_flag=True, help="Check, then swap with the original, which is kept under a new name.")
@click.option("--globals", "with_globals", is_flag=True, help="Create roles that the server lacks, too.")
@click.option("--include", multiple=True, metavar="PATTERN", help=_INCLUDE)
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Not these files (may be repeated).")
@click.option("--dry-run", is_flag=True, help="Print the plan and do nothing.")
@click.option("--wait", default=0.0, metavar="SECONDS", help="In place: wait for another run to end (default: 0).")
@click.pass_obj
def command(
    ctx: CliContext,
    service: str,
    sources: tuple[str, ...],
    databases: tuple[str, ...],
    latest: bool,
    point: str | None,
    at: str | None,
    to: str | None,
    name: str | None,
    in_place: bool,
    with_globals: bool,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    dry_run: bool,
    wait: float,
) -> int:
    """Bring a service back: under a new name or below --to, checked; with --in-place swapped in afterwards."""
    import os  # noqa: PLC0415 - start-up

    from orchestrator.cli.acting import open_app, parse_time  # noqa: PLC0415
    from orchestrator.planning.restore import Where  # noqa: PLC0415
    from orchestrator.planning.select import Choice  # noqa: PLC0415
    from orchestrator.runs.restore import RestoreRequest  # noqa: PLC0415
    from orchestrator.runs.restore_item import Picks  # noqa: PLC0415

    if sum([latest, bool(point), bool(at)]) != 1:
        raise UsageError("say which restore point", "one of --latest, --point ID or --at TIME")
    if in_place and (to or name or include or exclude):
        raise UsageError("--in-place replaces whole sources", "leave out --to, --as, --include and --exclude")
    if wait and not in_place:
        raise UsageError("--wait is for --in-place: a restore to a new place waits for nobody", "leave it out")
    app = open_app(ctx, acting=not dry_run)
    choice = Choice(point=point or "", at=parse_time(at, app.config.policy.timezone) if at else None)
    where = Where(os.path.abspath(to) if to else "", name or "", in_place, with_globals, bool(include or exclude))
    request = RestoreRequest(
        service, choice, where, sources, picks=Picks(include, exclude), wait=wait, databases=databases
    )
    return _restore(ctx, app, request, dry_run=dry_run)


def _restore(ctx: CliContext, app: App, request: RestoreRequest, *, dry_run: bool) -> int:
    from orchestrator.cli.acting import recorded, show  # noqa: PLC0415 - start-up
    from orchestrator.report.bodies import RestorePlanned, RestoreRun  # noqa: PLC0415
    from orchestrator.report.text import restore_plan_text, restored_text  # noqa: PLC0415
    from orchestrator.runs import restore as runs  # noqa: PLC0415

    if dry_run:
        planned = runs.plan(app.box, request)
        if ctx.json:
            ctx.emit("restore-plan", RestorePlanned(planned))
        ctx.say(restore_plan_text(planned))
        return 0
    items: list[RestoredItem] = []

    def work(box: Toolbox) -> RunRecord:
        planned = runs.plan(box, request)
        ctx.say(restore_plan_text(planned))
        record, done = runs.restore(box, request, planned)
        items.extend(done)
        return record

    record = recorded(app, "restore", work)
    if ctx.json:
        ctx.emit("restore", RestoreRun(**vars(record), items=items))
    elif record.exit_code:
        show(ctx, restored_text(record, items), record.exit_code)
    else:
        ctx.say(restored_text(record, items))
    return record.exit_code
