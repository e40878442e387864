"""`resguardo list`."""

from __future__ import annotations

import click

from orchestrator.cli.context import CliContext


@click.command("list")
@click.argument("service", required=False)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Show at most N points (default: all).")
@click.pass_obj
def command(ctx: CliContext, service: str | None, limit: int | None) -> int:
    """List restore points, newest first; those of services that are gone are marked retired."""
    from orchestrator.cli.acting import open_app, points_of  # noqa: PLC0415 - start-up
    from orchestrator.planning.select import REBUILD  # noqa: PLC0415

    app = open_app(ctx)
    points = points_of(app, service)
    if not points and not app.catalog.points(items=False):
        ctx.warn(f"HINT: {REBUILD}")
    shown = points[:limit] if limit else points
    if ctx.json:
        from orchestrator.report.bodies import Listed  # noqa: PLC0415 - start-up

        ctx.emit("list", Listed(shown))
        return 0
    from orchestrator.report.text import points_table  # noqa: PLC0415 - start-up

    ctx.say(points_table(shown, app.clock(), app.config.policy.host))
    return 0
