"""`resguardo init`."""

from __future__ import annotations

import click

from orchestrator.cli.context import CliContext


@click.command("init", short_help="write a starter policy, services and key, and create the repository")
@click.pass_obj
def command(ctx: CliContext) -> int:
    """Write policy.yml, services.yml and the key where they are missing, and create the repository.

    What exists is never overwritten. No other command ever creates a repository.
    """
    from orchestrator.cli.acting import noted, open_app  # noqa: PLC0415 - start-up
    from orchestrator.cli.starter import make_keys, write_starter  # noqa: PLC0415
    from orchestrator.runs.initialize import initialize  # noqa: PLC0415

    written = write_starter(ctx.policy_path)
    app = open_app(ctx)
    keys = make_keys(app.key_files())
    made = [(made.name, made.describe(), result) for made, result in noted(app, "init", initialize)]
    if ctx.json:
        from orchestrator.report.bodies import Initialized, InitializedRepository  # noqa: PLC0415

        ctx.emit("init", Initialized([*written, *keys], [InitializedRepository(*each) for each in made]))
        return 0
    for path in (*written, *keys):
        ctx.say(f"wrote {path}")
    for name, url, result in made:
        ctx.say(f"repository {name} at {url}: {result}")
    if keys:
        ctx.say(f"keep a copy of {', '.join(keys)} somewhere else: without it no backup can be read")
    return 0
