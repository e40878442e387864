"""`resguardo schema`: the JSON Schema of both files, for editors."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from orchestrator.model.errors import Precondition, UsageError

if TYPE_CHECKING:
    from orchestrator.cli.context import CliContext


@click.command()
@click.argument("file", type=click.Choice(["policy", "services"]), required=False)
@click.option("--write", "folder", is_flag=False, flag_value="docs/reference", metavar="FOLDER",
              help="Write both as files (into docs/reference when no folder is given).")  # fmt: skip
@click.pass_obj
def command(ctx: CliContext, file: str | None, folder: str | None) -> None:
    """Print the JSON Schema of policy.yml or services.yml, or write both."""
    from orchestrator.policy.schema import render, schemas  # noqa: PLC0415 - start-up

    known = schemas(ctx.engine_options())
    if folder is not None:
        for name, schema in known.items():
            _write(folder, f"{name}.schema.json", render(schema))
            ctx.say(f"wrote {os.path.join(folder, f'{name}.schema.json')}")
    elif file is None:
        raise UsageError("say which file's schema to print", "resguardo schema policy, or resguardo schema services")
    else:
        click.echo(render(known[file]), nl=False)


def _write(folder: str, name: str, text: str) -> None:
    try:
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        reason = (error.strerror or "failed").lower()
        raise Precondition(
            f"cannot write {os.path.join(folder, name)}: {reason}", "name a folder that exists"
        ) from None
