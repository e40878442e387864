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
    from orchestrator.cli.starter import write_starter  # noqa: PLC0415 - start-up

    written = write_starter(ctx.policy_path)
    app = ctx.app()
    made = app.initialize()
    if ctx.json:
        repositories = [{"name": name, "url": url, "result": result} for name, url, result in made]
        ctx.emit("init", {"written": written, "repositories": repositories})
        return 0
    for path in written:
        ctx.say(f"wrote {path}")
    for name, url, result in made:
        ctx.say(f"repository {name} at {url}: {result}")
    keys = app.key_files()
    if keys:
        ctx.say(f"keep a copy of {', '.join(keys)} somewhere else: without it no backup can be read")
    return 0
