"""`resguardo validate`: check both files and say what they hold."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from orchestrator.model.errors import PolicyInvalid

if TYPE_CHECKING:
    from orchestrator.cli.context import CliContext
    from orchestrator.policy import Config
    from orchestrator.report.bodies import Validated


@click.command()
@click.pass_obj
def command(ctx: CliContext) -> int:
    """Check policy.yml and services.yml, and say everything that is wrong with them."""
    try:
        config = ctx.load()
    except PolicyInvalid as error:
        if not ctx.json:
            raise
        ctx.emit("validate", _invalid(ctx.policy_path, error))
        return error.exit_code
    if ctx.json:
        ctx.emit("validate", _valid(config))
    else:
        ctx.say(_summary(config))
    return 0


def _summary(config: Config) -> str:
    disabled = sum(not service.enabled for service in config.services.values())
    off = f" ({disabled} disabled)" if disabled else ""
    services, sources = len(config.services), len(config.sources)
    names = ", ".join(config.policy.repositories)
    return (
        f"{config.policy_path} is valid: {services} service{_s(services)}{off}, {sources} source{_s(sources)}, "
        f"repository {names}"
    )


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _valid(config: Config) -> Validated:
    from orchestrator.report.bodies import Validated, ValidService, ValidSource  # noqa: PLC0415 - start-up

    services = [
        ValidService(
            service.name,
            service.enabled,
            [ValidSource(source.name, source.engine, source.tier) for source in service.sources],
        )
        for service in config.services.values()
    ]
    policy = config.policy
    return Validated(True, config.policy_path, config.sha256, policy.host, list(policy.repositories), services)


def _invalid(path: str, error: PolicyInvalid) -> Validated:
    from orchestrator.report.bodies import Validated  # noqa: PLC0415 - start-up

    return Validated(False, os.path.realpath(path), problems=error.problems)
