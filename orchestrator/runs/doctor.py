"""Look at everything that a backup needs; change nothing."""

from __future__ import annotations

from orchestrator.model.errors import ResguardoError
from orchestrator.model.execution import Finding, Undo
from orchestrator.model.repository import Repository
from orchestrator.runs.probe import probe_all
from orchestrator.runs.toolbox import Toolbox

Examined = tuple[str, Finding]


def examine(box: Toolbox) -> list[Examined]:
    """Return (subject, finding) for restic, each repository, each source, and the outbox."""
    found: list[Examined] = []
    with box.looking() as undo:
        for repository in box.repositories.values():
            found += _repository(box, repository, undo)
        found += _sources(box, undo)
    waiting = len(box.catalog.outbox())
    if waiting:
        found.append(("notify", Finding("warning", f"{waiting} notifications wait", "try resguardo notify test")))
    return found


def _repository(box: Toolbox, repository: Repository, undo: Undo) -> list[Examined]:
    subject = f"repository {repository.name}"
    try:
        found = [("restic", Finding("info", f"version {repository.version()}"))]
        if not repository.exists(undo):
            return [*found, (subject, Finding("error", "there is no repository", "create it with resguardo init"))]
        found.append((subject, Finding("info", f"answers at {repository.describe()}")))
        for lock in repository.locks(undo):
            age = box.clock() - lock.time
            message = f"locked by {lock.host} PID {lock.pid} since {age}"
            found.append((subject, Finding("warning", message, "if that process is gone, run restic unlock there")))
        return found
    except ResguardoError as error:
        return [(subject, Finding("error", error.message, error.hint))]


def _sources(box: Toolbox, undo: Undo) -> list[Examined]:
    found: list[Examined] = []
    for probed in probe_all(box, box.sources, undo):
        if probed.trouble:
            found.append((probed.source.id, Finding("error", probed.trouble.message, probed.trouble.hint)))
        if probed.facts is None:
            continue
        facts = probed.facts
        size = sum(item.bytes or 0 for item in facts.items)
        usual = f", usually {probed.history.seconds:.1f} s" if probed.history else ""
        words = ", ".join(word for word in (facts.server, facts.tool) if word)
        message = f"reachable, {len(facts.items)} items, about {size} bytes{usual}" + (f" ({words})" if words else "")
        found.append((probed.source.id, Finding("info", message)))
        found += [(probed.source.id, finding) for finding in facts.findings]
    return found
