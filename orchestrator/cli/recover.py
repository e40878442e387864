"""`resguardo recover`."""

from __future__ import annotations

import click

from orchestrator.cli.context import CliContext


@click.command("recover")
@click.pass_obj
def command(ctx: CliContext) -> int:
    """Undo what killed runs left behind: processes, plaintext, stale locks. Every acting command does it too."""
    from orchestrator.cli.acting import noted, open_app  # noqa: PLC0415 - start-up
    from orchestrator.runs.reconcile import recover  # noqa: PLC0415

    dead = noted(open_app(ctx), "recover", recover)
    if ctx.json:
        from orchestrator.report.bodies import Recovered  # noqa: PLC0415

        ctx.emit("recover", Recovered(dead))
    else:
        ctx.say("\n".join(f"run {run} was dead; what it left is undone" for run in dead) or "nothing to recover")
    return 0
