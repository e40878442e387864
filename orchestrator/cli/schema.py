"""`resguardo schema`: the JSON Schema of both files, for editors."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from orchestrator.cli.output import put
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
    from orchestrator.report.bodies import Schemas  # noqa: PLC0415

    known = schemas(ctx.engine_options())
    if folder is None and file is None:
        raise UsageError("say which file's schema to print", "resguardo schema policy, or resguardo schema services")
    written = [] if folder is None else [_write(folder, name, render(schema)) for name, schema in known.items()]
    asked = known if file is None else {file: known[file]}
    if ctx.json:
        ctx.emit("schema", Schemas(asked, written))
    elif written:
        ctx.say("\n".join(f"wrote {path}" for path in written))
    else:
        put("".join(render(schema) for schema in asked.values()), end="")


def _write(folder: str, file: str, text: str) -> str:
    name = f"{file}.schema.json"
    try:
        with open(os.path.join(folder, name), "w", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        reason = (error.strerror or "failed").lower()
        raise Precondition(
            f"cannot write {os.path.join(folder, name)}: {reason}", "name a folder that exists"
        ) from None
    return os.path.join(folder, name)
