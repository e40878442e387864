"""What a restore notes for whoever looks after it when it is killed: what then stays, and only the user can mend."""

from __future__ import annotations

from orchestrator.model.engine import Kept
from orchestrator.model.execution import Tell, Undo
from orchestrator.planning.restore import RestoreStep
from orchestrator.runs.restore_checks import on_path
from orchestrator.runs.toolbox import Toolbox


class HalfDone:
    """The notes of one restore; they go with the journal when it ends in order, since its record then tells."""

    def __init__(self, box: Toolbox, service: str, undo: Undo) -> None:
        self._box = box
        self._service = service
        self._undo = undo
        self._notes: dict[str, str] = {}  # a step's target → the note that is pending for it

    def loading(self, step: RestoreStep) -> None:
        """Note what is about to be made; what is made beside an original on a disk is removed, and needs no note."""
        if on_path(self._box, step):
            if not step.original:
                text, hint = f"{step.target!r} may be half restored", "remove it, or check it before you use it"
                self._note(step, text, hint)
        elif step.item.role != "globals":
            text = f"database {step.target!r} may be on its server, half made or not put in place"
            self._note(step, text, f"look there, and drop it: DROP DATABASE {_quoted(step.target)}")

    def loaded(self, step: RestoreStep, *, whole: bool) -> None:
        """What is whole and in its place, or was taken back, needs no note any more."""
        if not (whole and step.original):
            self._over(step)

    def swapping(self, step: RestoreStep) -> None:
        """Note that original and restored copy are about to change names."""
        before = self._notes.pop(step.target, None)
        text = f"{step.original!r} was being replaced; if {step.kept!r} is there, one of the two is the original"
        self._note(step, text, "compare both before you remove one; then restore again")
        if before:
            self._undo.done(before)

    def swapped(self, step: RestoreStep, kept: Kept) -> None:
        """Note what now stands in the place: files and databases of a service belong together."""
        under_way = self._notes.pop(step.target)
        text = f"{step.original!r} was replaced by what {step.point.id} holds"
        text += f", and what it was is kept as {kept.name!r}" if kept.name else ""
        self._note(step, text, "other parts may not have been replaced: restore again, or put it back by hand")
        self._undo.done(under_way)

    def unswapped(self, step: RestoreStep) -> None:
        """A swap that failed took back what it did."""
        self._over(step)

    def _note(self, step: RestoreStep, text: str, hint: str) -> None:
        place = f"{self._service}/{step.source.name}"
        self._notes[step.target] = self._undo.register(Tell(f"{place}: {text}", hint, self._service))

    def _over(self, step: RestoreStep) -> None:
        note = self._notes.pop(step.target, None)
        if note:
            self._undo.done(note)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
