"""`resguardo plan`."""

from __future__ import annotations

import click

from orchestrator.cli.context import CliContext


@click.command("plan", short_help="what a backup would do and what retention would forget")
@click.argument("services", nargs=-1, metavar="[SERVICE]...")
@click.option("--only", type=click.Choice(["databases", "files"]), help="Plan only databases, or only files.")
@click.pass_obj
def command(ctx: CliContext, services: tuple[str, ...], only: str | None) -> int:
    """Probe every source and print what a backup would do; touches nothing."""
    from orchestrator.runs import backup as runs  # noqa: PLC0415 - start-up

    return ctx.app().show_plan(ctx, runs.BackupRequest(services, only or ""))
