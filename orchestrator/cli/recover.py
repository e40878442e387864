"""`resguardo recover`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator.cli.context import CliContext
from orchestrator.model.errors import EXIT_BUSY
from orchestrator.report.units import flat

if TYPE_CHECKING:
    from orchestrator.model.record import Event
    from orchestrator.runs.reconcile import Buried


@click.command("recover")
@click.option(
    "--unlock",
    is_flag=True,
    help="Also remove restic's locks of processes that are unknown to us and do not run on this machine.",
)
@click.pass_obj
def command(ctx: CliContext, unlock: bool) -> int:
    """Undo what killed runs left behind: processes, plaintext, stale locks. Every acting command does it too.

    Locks that are none of ours are left alone and told. Before --unlock make sure that their processes do not run in a
    container or on another machine of the same name; exit 11 when a lock is left all the same.
    """
    from orchestrator.cli.acting import noted, open_app  # noqa: PLC0415 - start-up
    from orchestrator.runs.reconcile import look_after_locks, recover  # noqa: PLC0415

    dead, locks = noted(open_app(ctx), "recover", lambda box: (recover(box), look_after_locks(box, asked=unlock)))
    if ctx.json:
        from orchestrator.report.bodies import Recovered  # noqa: PLC0415

        ctx.emit(
            "recover", Recovered([each.run for each in dead], locks, [event for each in dead for event in each.left])
        )
    else:
        told = [line for each in dead for line in _buried(each)]
        ctx.say("\n".join([*told, *map(_told, locks)]) or "nothing to recover")
    left = any(event.name != "lock.removed" for event in locks)
    return EXIT_BUSY if unlock and left else 0


def _buried(dead: Buried) -> list[str]:
    if not dead.left:
        return [f"run {dead.run} was dead; what it left is undone"]
    return [f"run {dead.run} was dead; this stays:", *map(_stays, dead.left)]


def _stays(event: Event) -> str:
    return f"  {flat(event.message)}" + (f"\n  HINT: {flat(event.hint)}" if event.hint else "")


def _told(event: Event) -> str:
    if event.name == "lock.removed":
        return event.message
    return f"left alone: {event.message}" + (f"\nHINT: {event.hint}" if event.hint else "")
