"""Look at everything that a backup needs; change nothing."""

from __future__ import annotations

from orchestrator.model.errors import Interrupted, ResguardoError
from orchestrator.model.execution import Finding, Undo
from orchestrator.model.repository import Repository
from orchestrator.policy.secrets_used import secrets_used
from orchestrator.report.units import age, count, duration, size
from orchestrator.runs import identity
from orchestrator.runs.beside import beside_data
from orchestrator.runs.notify import without_channel
from orchestrator.runs.probe import probe_all
from orchestrator.runs.toolbox import Toolbox

Examined = tuple[str, Finding]


def examine(box: Toolbox) -> list[Examined]:
    """Return (subject, finding) for each secret, restic, each repository, source and channel, and the outbox."""
    found = _secrets(box)
    with box.looking() as undo:
        for repository in box.repositories.values():
            found += _repository(box, repository, undo)
        found += _sources(box, undo)
    return [*found, *_channels(box)]


def _secrets(box: Toolbox) -> list[Examined]:
    found = []
    for ref, users in secrets_used(box.config).items():
        finding = Finding("info", f"{ref} gives {', '.join(users)}")
        try:
            box.no_secret(ref)
        except Interrupted:
            raise
        except ResguardoError as error:
            finding = Finding("error", f"{error.message}; {', '.join(users)} needs it", error.hint)
        found.append(("secret", finding))
    return found


def _channels(box: Toolbox) -> list[Examined]:
    found: list[Examined] = []
    for name in box.config.policy.notify.channels:
        finding = Finding("info", "its URL can be sent to; resguardo notify test does")
        try:
            box.notifier.check(name)
        except Interrupted:
            raise
        except ResguardoError as error:
            finding = Finding("error", without_channel(error.message, name), error.hint)
        found.append((f"channel {name}", finding))
    waiting = box.catalog.outbox()
    if waiting:
        why = f": {waiting[0].last_error}" if waiting[0].last_error else ""
        text = f"{count(len(waiting), 'notification')} not delivered yet{why}"
        found.append(("notify", Finding("warning", text, "try resguardo notify test")))
    return found


def _repository(box: Toolbox, repository: Repository, undo: Undo) -> list[Examined]:
    subject = f"repository {repository.name}"
    try:
        found = [("restic", Finding("info", f"version {repository.version()}"))]
        if not repository.exists(undo):
            hint = identity.absent_hint(box, repository)
            return [*found, (subject, Finding("error", f"there is none at {repository.describe()}", hint))]
        found.append((subject, Finding("info", f"answers at {repository.describe()}")))
        if identity.changed(box, repository):
            message = "it may be another one than the one whose restore points are known here"
            found.append((subject, Finding("warning", message, "`resguardo catalog rebuild` lists it and compares")))
        found += [(subject, finding) for finding in beside_data(box, repository)]
        for lock in repository.locks(undo):
            held = age(min(lock.time, box.clock()), box.clock())
            message = f"locked by PID {lock.pid} on {lock.host} for {held}"
            hint = "resguardo recover says whether that process is gone, and what to do then"
            found.append((subject, Finding("warning", message, hint)))
        return found
    except Interrupted:
        raise
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
        known = sum(item.bytes or 0 for item in facts.items)
        about = f", about {size(known)}" if known else ""
        usual = f", usually {duration(probed.history.seconds)}" if probed.history else ""
        words = ", ".join(word for word in (facts.server, facts.tool) if word)
        message = f"reachable, {count(len(facts.items), 'item')}{about}{usual}" + (f" ({words})" if words else "")
        found.append((probed.source.id, Finding("info", message)))
        found += [(probed.source.id, finding) for finding in facts.findings]
        found += [(probed.source.id, finding) for paths in probed.paths.values() for finding in paths.lacking]
    return found
