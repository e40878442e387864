"""What one model alone cannot see: names that must exist elsewhere, blocks that hold nothing.

It looks at the raw data, so it works beside other faults and hides none of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from orchestrator.model.errors import Problem
from orchestrator.policy import later
from orchestrator.policy.fault import did_you_mean, shown
from orchestrator.policy.repository_url import has_password
from orchestrator.policy.retention import DEFAULT_TIER, GUARD, NO_DEFAULT, NO_DEFAULT_HINT
from orchestrator.policy.services_file import PATH_KEYS, Service
from orchestrator.policy.yaml_loader import Document, Path


def crosscheck(policy: Document | None, services: Document | None) -> Iterator[Problem]:
    """Give the problems of names that nothing has (channels, tiers, services of jobs), passwords in URLs, ….

    A file that could not be read is None, and what needs it is not checked.
    """
    tiers: list[str] = []
    if policy is not None:
        tiers = [tier for tier in _mapping(policy.data, "retention") if tier != GUARD]
        yield from _channels(policy)
        yield from _repositories(policy)
        yield from _repository_tiers(policy, tiers)
        yield from _whole_jobs(policy)
        if tiers and DEFAULT_TIER not in tiers:
            yield policy.problem(("retention",), NO_DEFAULT, NO_DEFAULT_HINT)
    if services is not None:
        yield from _hollow(services)
        yield from _tiers(services, tiers)
    if policy is not None and services is not None:
        yield from _jobs(policy, _mapping(services.data, "services"))


def _channels(policy: Document) -> Iterator[Problem]:
    notify = _mapping(policy.data, "notify")
    channels = _mapping(notify, "channels")
    for number, rule in enumerate(_list(notify, "rules")):
        yield from _unknown(policy, ("notify", "rules", number, "to"), _list(rule, "to"), "channel", channels)


def _jobs(policy: Document, services: Collection[str]) -> Iterator[Problem]:
    for name, job in _mapping(policy.data, "jobs").items():
        yield from _unknown(policy, ("jobs", name, "services"), _list(job, "services"), "service", services)


def _whole_jobs(policy: Document) -> Iterator[Problem]:
    """Give jobs that name services although they work on whole repositories."""
    for name, job in _mapping(policy.data, "jobs").items():
        does = job.get("do") if isinstance(job, dict) else None
        if does in ("prune", "verify") and "services" in job:
            message = f"a job that does {does} works on whole repositories, not on single services"
            yield policy.problem(("jobs", name, "services"), message, "remove services from this job")


def _repository_tiers(policy: Document, tiers: Collection[str]) -> Iterator[Problem]:
    for name, repository in _mapping(policy.data, "repositories").items():
        for tier in _mapping(repository, "retention") if tiers else ():
            if tier not in tiers:
                yield _nameless(policy, ("repositories", name, "retention", tier), "tier", tier, tiers)


def _tiers(services: Document, tiers: Collection[str]) -> Iterator[Problem]:
    for name, service in _mapping(services.data, "services").items():
        places: list[tuple[Path, Any]] = [(("services", name), service)]
        places += [
            (("services", name, "databases", key), entry) for key, entry in _mapping(service, "databases").items()
        ]
        for path, holder in places:
            tier = holder.get("tier") if isinstance(holder, dict) else None
            if isinstance(tier, str) and tiers and tier not in tiers:
                yield _nameless(services, (*path, "tier"), "tier", tier, tiers)


def _hollow(services: Document) -> Iterator[Problem]:
    """Give services that hold nothing, and settings of paths that are not there."""
    known = {*Service.model_fields}
    for name, service in _mapping(services.data, "services").items():
        # With an unknown key (`database`, `path`) that key's own problem says it better.
        if not isinstance(service, dict) or set(service) - known or service.get("paths"):
            continue
        useless = [key for key in PATH_KEYS if key in service]
        if useless and useless[0] != "paths":
            hint = f"add paths, or remove {useless[0]}"
            yield services.problem(("services", name, useless[0]), f"{useless[0]} does nothing without paths", hint)
        elif not service.get("databases"):
            yield services.problem(("services", name), "the service holds nothing", "add databases or paths")


def _repositories(policy: Document) -> Iterator[Problem]:
    repositories = _mapping(policy.data, "repositories")
    for number, (name, repository) in enumerate(repositories.items(), 1):
        if number > later.MOST_REPOSITORIES:
            message = f"more than one repository is {later.WORDS}"
            yield policy.problem(("repositories", name), message, "keep the first one for now")
        url = repository.get("url") if isinstance(repository, dict) else None
        path = ("repositories", name, "url")
        if isinstance(url, str) and has_password(url) and path not in policy.interpolated:
            hint = "use env, such as RESTIC_REST_PASSWORD: {file: PATH}, or ${NAME} in the URL"
            yield policy.problem(path, "a password in plain text", hint)


def _unknown(
    document: Document, path: Path, names: Iterable[Any], kind: str, known: Collection[str]
) -> Iterator[Problem]:
    for number, name in enumerate(names):
        if isinstance(name, str) and name not in known:
            yield _nameless(document, (*path, number), kind, name, known)


def _nameless(document: Document, path: Path, kind: str, name: str, known: Collection[str]) -> Problem:
    hint = did_you_mean(name, known, kind=f"known {kind}s")
    hint = hint or (None if known else f"there is no {kind} yet")
    return document.problem(path, f"no such {kind}: {shown(name)}", hint)


def _mapping(data: Any, key: str) -> dict[str, Any]:
    value = data.get(key) if isinstance(data, dict) else None
    return value if isinstance(value, dict) else {}


def _list(data: Any, key: str) -> list[Any]:
    value = data.get(key) if isinstance(data, dict) else None
    return value if isinstance(value, list) else []
