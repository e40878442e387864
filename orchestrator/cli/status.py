"""`resguardo status`."""

from __future__ import annotations

import click

from orchestrator.cli.context import CliContext


@click.command("status")
@click.pass_obj
def command(ctx: CliContext) -> int:
    """Say how each service stands; exit 1 when something asks for action. No repository is asked."""
    from orchestrator.cli.acting import open_app  # noqa: PLC0415 - start-up
    from orchestrator.runs.status import status  # noqa: PLC0415

    app = open_app(ctx)
    found = status(app.box)
    if ctx.json:
        from orchestrator.report.bodies import StatusBody  # noqa: PLC0415

        ctx.emit("status", StatusBody(found))
    else:
        from orchestrator.report.status import status_text  # noqa: PLC0415

        ctx.say(status_text(found, app.clock()))
    return found.exit_code
