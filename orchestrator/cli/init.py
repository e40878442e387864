"""`resguardo init`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from orchestrator.cli.context import CliContext

if TYPE_CHECKING:
    from orchestrator.model.execution import Undo
    from orchestrator.model.repository import Repository
    from orchestrator.runs.toolbox import Toolbox


@click.command("init")
@click.option(
    "--replace-lost",
    is_flag=True,
    help="Create a repository also where restore points of a lost one are known, or go on with another one there.",
)
@click.pass_obj
def command(ctx: CliContext, *, replace_lost: bool) -> int:
    """Write policy.yml, services.yml and the key, each where it is missing, and create the repository.

    What exists is never overwritten. No other command ever creates a repository.
    """
    from orchestrator.cli.acting import noted, open_app  # noqa: PLC0415 - start-up
    from orchestrator.cli.starter import make_keys, write_starter  # noqa: PLC0415

    written = write_starter(ctx.policy_path)
    app = open_app(ctx)
    keys = make_keys(app.key_files())
    done = noted(app, "init", lambda box: _initialize(box, keys, replace_lost=replace_lost))
    made = [(repository.name, repository.describe(), result) for repository, result in done]
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


def _initialize(box: Toolbox, keys: list[str], *, replace_lost: bool) -> list[tuple[Repository, str]]:
    from orchestrator.runs.initialize import initialize  # noqa: PLC0415 - start-up

    _refuse_lost_keys(box, keys, replace_lost=replace_lost)
    return initialize(box, replace_lost=replace_lost)


def _refuse_lost_keys(box: Toolbox, keys: list[str], *, replace_lost: bool) -> None:
    """Take new keys back when a repository is there already, or nobody can tell: a new key never opens an old one.

    Raises Precondition, and what asking a repository raises.
    """
    from orchestrator.runs.identity import refuse_lost  # noqa: PLC0415 - start-up

    if not keys:
        return
    try:
        with box.looking() as undo:
            for name, repository in box.repositories.items():
                key = box.config.policy.repositories[name].password.file
                if key in keys and not _there(repository, key, undo) and not replace_lost:
                    refuse_lost(box, repository)
    except BaseException:
        for path in keys:
            os.unlink(path)
        raise


def _there(repository: Repository, key: str, undo: Undo) -> bool:
    from orchestrator.model.errors import Precondition, WrongPassword  # noqa: PLC0415 - start-up

    try:
        return repository.exists(undo)
    except WrongPassword:
        raise Precondition(
            f"repository {repository.name} exists and its key is missing: {key}",
            "put the key back from its copy: no new one can open the repository",
        ) from None
