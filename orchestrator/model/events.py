"""Every event's name: what it means, how severe it is, and whether rules can send it to a channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from orchestrator.model.record import Severity


@dataclass(frozen=True)
class Kind:
    """One kind of event. told: whether notification rules see it; the others stand in the log and the catalog only."""

    severity: Severity
    meaning: str
    told: bool = True


EVENTS: Final[dict[str, Kind]] = {
    # how a command ended
    "run.succeeded": Kind("success", "A run did all that it should. (`info` for commands that are no run.)"),
    "run.attention": Kind(
        "failed", "A backup stored everything, but needs attention: its retention was refused, its check found damage."
    ),
    "run.partial": Kind("partial", "A run did a part of its work: some sources failed or are partial."),
    "run.failed": Kind("failed", "A run failed, or a prune was refused, or a `verify` found damage."),
    "run.interrupted": Kind("failed", "A run was ended by a signal."),
    "run.busy": Kind("failed", "A command gave up because another run holds the lock."),
    "run.refused": Kind(
        "failed", "A command ended before it became a run: an unknown service, a folder without rights."
    ),
    "run.killed": Kind("warning", "A run died without an end of its own; the next command undid what it left."),
    "config.invalid": Kind(
        "failed", "A command that acts found policy.yml or services.yml wrong; told to the last good policy's channels."
    ),
    "alert.recovered": Kind("recovered", "What had failed, was partial or interrupted the last time works again."),
    # what a backup met
    "source.failed": Kind("failed", "A source could not be taken, or an item of it not be restored."),
    "source.partial": Kind("partial", "Something of a source could not be read, or is gone; the rest was taken."),
    "source.warning": Kind("warning", "A source was taken, and something about it is worth knowing."),
    "point.failed": Kind("failed", "Sources were taken, but their restore point could not be committed."),
    "disk.low": Kind("warning", "Less than `health.min_free` is free where a local repository lies."),
    "duration.exceeded": Kind("warning", "A backup took longer than `health.max_duration`."),
    # what retention and checks met
    "retention.braked": Kind("warning", "Retention stopped at its guard; nothing was forgotten."),
    "retention.blocked": Kind("warning", "Retention met a lock in the repository; nothing was forgotten."),
    "retention.failed": Kind("warning", "Retention failed for another reason."),
    "retention.refused": Kind("warning", "The repository keeps snapshots that were to be forgotten."),
    "prune.failed": Kind("warning", "Retention did its work, but the space of what was forgotten could not be freed."),
    "verify.blocked": Kind("warning", "A check was due and met a lock in the repository; nothing was checked."),
    "verify.failed": Kind("failed", "A check failed or found damage, or damage found before was not disproved since."),
    "point.damaged": Kind("failed", "`verify --point` found a restore point damaged."),
    "point.lost": Kind("failed", "A repository no longer lists a restore point's snapshots."),
    "point.broken": Kind("warning", "A commit in the repository is no restore point: parts of it are missing."),
    # our own housekeeping
    "recover.left": Kind(
        "failed", "A killed restore left something that only you can mend: it says what stands where, and what to do."
    ),
    "recover.failed": Kind("failed", "Something that a dead run left could not be undone."),
    "lock.removed": Kind("info", "A lock in the repository that a dead run of ours had left was removed."),
    "lock.busy": Kind("warning", "A lock in the repository belongs to a process of ours that still works."),
    "lock.foreign": Kind("warning", "A lock in the repository is not ours, as far as we know; it is left alone."),
    "lock.stuck": Kind("warning", "A lock that a dead run of ours had left could not be removed."),
    "lock.unknown": Kind(
        "warning", "Locks that a dead run may have left could not be looked at; tried again next time."
    ),
    "notify.dropped": Kind("warning", "A notification was given up after 20 tries or 7 days.", told=False),
}


def nouns() -> tuple[str, ...]:
    """Return what stands before the dot, each once, in the order of the events."""
    return tuple(dict.fromkeys(name.partition(".")[0] for name in EVENTS))
