"""Look at everything that a backup needs; change nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.model.errors import Interrupted, ResguardoError
from orchestrator.model.execution import Finding, Undo
from orchestrator.model.repository import Repository
from orchestrator.planning.backup import PlannedSource, Probed, plan_source
from orchestrator.planning.preflight import Preflight, preflight
from orchestrator.policy.secrets_used import secrets_used
from orchestrator.report.preflight import preflight_line
from orchestrator.report.units import age, count
from orchestrator.runs import identity
from orchestrator.runs.beside import beside_data
from orchestrator.runs.notify import without_channel
from orchestrator.runs.probe import probe_all
from orchestrator.runs.toolbox import Toolbox

Examined = tuple[str, Finding]


@dataclass(frozen=True)
class Examination:
    """What was found, by subject (a secret, restic, repository, source or channel, the outbox), and of each source."""

    findings: tuple[Examined, ...]
    sources: tuple[Preflight, ...]


def examine(box: Toolbox) -> Examination:
    """Look at everything."""
    found = _secrets(box)
    with box.looking() as undo:
        for repository in box.repositories.values():
            found += _repository(box, repository, undo)
        probed = probe_all(box, box.sources, undo)
    seen = [(each, plan_source(each)) for each in probed]
    return Examination((*found, *_sources(seen), *_channels(box)), tuple(preflight(planned) for _, planned in seen))


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


def _sources(seen: Iterable[tuple[Probed, PlannedSource]]) -> list[Examined]:
    found: list[Examined] = []
    for probed, planned in seen:
        if probed.trouble:
            found.append((probed.source.id, Finding("error", probed.trouble.message, probed.trouble.hint)))
        if probed.facts is None:
            continue
        found.append((probed.source.id, Finding("info", preflight_line(preflight(planned)))))
        found += [(probed.source.id, finding) for finding in probed.facts.findings]
        found += [(probed.source.id, finding) for paths in probed.paths.values() for finding in paths.lacking]
    return found
