"""`resguardo catalog`."""

from __future__ import annotations

import click

from orchestrator.cli.context import CliContext


@click.group("catalog")
def command() -> None:
    """The local catalog: a mirror of what the repositories hold."""


@command.command("rebuild")
@click.pass_obj
def rebuild(ctx: CliContext) -> int:
    """Learn every restore point that the repositories hold from the repositories alone."""
    from orchestrator.cli.acting import noted, open_app  # noqa: PLC0415 - start-up
    from orchestrator.runs.rebuild import LOST, rebuild_all  # noqa: PLC0415

    app = open_app(ctx)
    if kept := app.set_aside_catalog():
        ctx.warn(f"the catalog could not be used; it is kept as {kept}")
    found = noted(app, "catalog rebuild", rebuild_all)
    if ctx.json:
        from orchestrator.report.bodies import BrokenPoint, Rebuilt  # noqa: PLC0415

        broken = [BrokenPoint(point, why) for point, why in found.broken]
        ctx.emit("catalog-rebuild", Rebuilt(found.added, broken, found.known, found.lost))
    else:
        from orchestrator.report.status import rebuilt_text  # noqa: PLC0415

        ctx.say(rebuilt_text(app.config.policy.host, found.known, len(found.added)))
        for point, why in found.broken:
            ctx.warn(f"{point} is not a restore point: {why}")
        if found.lost:
            ctx.warn(f"gone from its repository: {', '.join(found.lost)}")
            ctx.warn(f"HINT: {LOST}")
    return 3 if found.broken or found.lost else 0
