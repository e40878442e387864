"""`resguardo show`."""

from __future__ import annotations

import click

from orchestrator.cli.context import CliContext


@click.command("show")
@click.argument("point")
@click.option("--files", is_flag=True, help="Print policy.yml and services.yml as they were, read from the repository.")
@click.pass_obj
def command(ctx: CliContext, point: str, files: bool) -> int:
    """Show one restore point (ID or a unique beginning of it): sources, items, sizes, digests, snapshots."""
    from orchestrator.cli.acting import files_of, open_app, points_of  # noqa: PLC0415 - start-up
    from orchestrator.planning.select import named  # noqa: PLC0415

    app = open_app(ctx)
    found = named(points_of(app, None), point)
    if files:
        texts = files_of(app, found)
        if ctx.json:
            from orchestrator.report.bodies import ShownFiles  # noqa: PLC0415

            ctx.emit("show-files", ShownFiles(texts))
        else:
            ctx.say("\n".join(f"# ---- {name}\n{text}" for name, text in texts.items()))
        return 0
    if ctx.json:
        from orchestrator.report.bodies import Shown  # noqa: PLC0415 - start-up

        ctx.emit("show", Shown(found))
        return 0
    from orchestrator.report.text import point_text  # noqa: PLC0415 - start-up

    ctx.say(point_text(found, app.clock()))
    return 0
