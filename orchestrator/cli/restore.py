"""`resguardo restore`."""

from __future__ import annotations

import click

from orchestrator.cli.context import CliContext
from orchestrator.model.errors import UsageError


@click.command("restore", short_help="restore a service, to a new place or in place")
@click.argument("service")
@click.option("--source", "sources", multiple=True, metavar="NAME", help="Only this source (may be repeated).")
@click.option("--latest", is_flag=True, help="The newest restore point of each tier.")
@click.option("--point", metavar="ID", help="This restore point (ID or a unique beginning of it).")
@click.option("--at", metavar="TIME", help="The newest point not after this time, such as 2026-11-03T09:00.")
@click.option("--to", "to", metavar="DIR", help="Put files below this directory (it is made).")
@click.option("--as", "name", metavar="NAME", help="Restore the database under this new name.")
@click.option("--in-place", is_flag=True, help="Check, then swap with the original, which is kept under a new name.")
@click.option("--include", multiple=True, metavar="PATTERN", help="Only these files (restic pattern; may be repeated).")
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Not these files (may be repeated).")
@click.option("--dry-run", is_flag=True, help="Print the plan and do nothing.")
@click.option("--wait", default=0.0, metavar="SECONDS", help="In place: wait for another run to end (default: 0).")
@click.pass_obj
def command(
    ctx: CliContext,
    service: str,
    sources: tuple[str, ...],
    latest: bool,
    point: str | None,
    at: str | None,
    to: str | None,
    name: str | None,
    in_place: bool,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    dry_run: bool,
    wait: float,
) -> int:
    """Bring a service back: under a new name or below --to, checked; with --in-place swapped in afterwards."""
    import os  # noqa: PLC0415 - start-up

    from orchestrator.planning.restore import Where  # noqa: PLC0415
    from orchestrator.planning.select import Choice  # noqa: PLC0415
    from orchestrator.runs.restore import RestoreRequest  # noqa: PLC0415

    if sum([latest, bool(point), bool(at)]) != 1:
        raise UsageError("say which restore point", "one of --latest, --point ID or --at TIME")
    if in_place and (to or name or include or exclude):
        raise UsageError("--in-place replaces whole sources", "leave out --to, --as, --include and --exclude")
    app = ctx.app()
    choice = Choice(latest=latest, point=point, at=app.parse_time(at) if at else None)
    where = Where(os.path.abspath(to) if to else "", name or "", in_place)
    request = RestoreRequest(service, choice, where, sources, include=include, exclude=exclude, wait=wait)
    return app.restore(ctx, request, dry_run=dry_run)
