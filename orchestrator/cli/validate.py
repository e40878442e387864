"""`resguardo validate`: check both files and say what they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator.model.errors import PolicyInvalid

if TYPE_CHECKING:
    from orchestrator.cli.context import CliContext
    from orchestrator.policy import Config


@click.command()
@click.pass_obj
def command(ctx: CliContext) -> int:
    """Check policy.yml and services.yml, and say everything that is wrong with them."""
    try:
        config = ctx.load()
    except PolicyInvalid as error:
        if not ctx.json:
            raise
        ctx.emit("validate", _invalid(error))
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


def _valid(config: Config) -> dict[str, object]:
    return {
        "valid": True,
        "policy": config.policy_path,
        "sha256": config.sha256,
        "host": config.policy.host,
        "repositories": list(config.policy.repositories),
        "services": [
            {
                "name": service.name,
                "enabled": service.enabled,
                "sources": [
                    {"name": source.name, "engine": source.engine, "tier": source.tier} for source in service.sources
                ],
            }
            for service in config.services.values()
        ],
        "problems": [],
    }


def _invalid(error: PolicyInvalid) -> dict[str, object]:
    problems = [
        {
            "file": problem.file,
            "line": problem.line,
            "column": problem.column,
            "key": problem.key,
            "message": problem.message,
            "hint": problem.hint,
        }
        for problem in error.problems
    ]
    return {"valid": False, "problems": problems}
