"""`resguardo prune`."""

from __future__ import annotations

import click

from orchestrator.cli.context import CliContext


@click.command("prune", short_help="apply retention, with reasons, and free space")
@click.option("--dry-run", is_flag=True, help="Print every decision with its reason and do nothing.")
@click.option("--simulate", metavar="SPAN", help="Print what the policy would keep after this long, such as 2y.")
@click.option("--force", is_flag=True, help="Go on although the guard refuses.")
@click.option("--wait", default=0.0, metavar="SECONDS", help="Wait for another run to end (default: 0).")
@click.pass_obj
def command(ctx: CliContext, dry_run: bool, simulate: str | None, force: bool, wait: float) -> int:
    """Forget restore points by policy, commits first, then free the space."""
    app = ctx.app()
    if simulate:
        return app.simulate(ctx, simulate)
    if dry_run:
        return app.show_retention(ctx)
    from orchestrator.runs import retention as runs  # noqa: PLC0415 - start-up

    return app.act(ctx, "prune", lambda box: runs.prune(box, force=force, wait=wait))
