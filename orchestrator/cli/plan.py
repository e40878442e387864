"""`resguardo plan`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from orchestrator.cli.context import CliContext

if TYPE_CHECKING:
    from datetime import datetime

    from orchestrator.app import App
    from orchestrator.planning.backup import BackupPlan
    from orchestrator.planning.tidy import RetentionPlan
    from orchestrator.runs.backup import BackupRequest


@click.command("plan")
@click.argument("services", nargs=-1, metavar="[SERVICE]...")
@click.option("--only", type=click.Choice(["databases", "files"]), help="Plan only databases, or only files.")
@click.pass_obj
def command(ctx: CliContext, services: tuple[str, ...], only: str | None) -> int:
    """Probe every source and print what a backup would do; touches nothing."""
    from orchestrator.cli.acting import open_app  # noqa: PLC0415 - start-up
    from orchestrator.runs.backup import BackupRequest  # noqa: PLC0415

    return show_plan(ctx, open_app(ctx), BackupRequest(services, only or ""))


def show_plan(ctx: CliContext, app: App, request: BackupRequest) -> int:
    """Print the plan of a backup: the same for `plan` and `backup --dry-run`."""
    from orchestrator.runs import backup as runs  # noqa: PLC0415 - start-up
    from orchestrator.runs.beside import beside_data  # noqa: PLC0415

    with app.box.looking() as undo:
        planned = runs.plan(app.box, request, undo)
    near = beside_data(app.box, app.box.repositories[planned.repository])
    planned = replace(planned, findings=(*planned.findings, *near))
    foreseen, seen = _foreseen(app, planned)
    if ctx.json:
        from orchestrator.report.bodies import Planned  # noqa: PLC0415

        ctx.emit("plan", Planned(planned, foreseen, seen))
    else:
        from orchestrator.report.text import plan_text  # noqa: PLC0415

        ctx.say(plan_text(planned, foreseen, seen))
    troubles = [source.trouble for point in planned.points for source in point.sources if source.trouble]
    return 3 if troubles else 0


def _foreseen(app: App, planned: BackupPlan) -> tuple[RetentionPlan | None, datetime | None]:
    """Return what retention would do after this backup where it is due, and when the repository was last listed."""
    from orchestrator.runs.retention_plan import preview  # noqa: PLC0415 - start-up

    repository = app.box.repositories[planned.repository]
    seen = app.box.catalog.seen(repository.name)
    return (preview(app.box, repository, planned.points) if planned.forget else None), seen
