"""Load both files and say everything that is wrong with them in one go."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from orchestrator.model.errors import PolicyInvalid, Problem
from orchestrator.policy.config import Config, ServiceConfig, SourceConfig
from orchestrator.policy.crosscheck import crosscheck
from orchestrator.policy.engine_options import CheckedOptions, Models, check_options
from orchestrator.policy.policy_file import Policy
from orchestrator.policy.services_file import FILES_ENGINE, Service, Services
from orchestrator.policy.validation import MOST_PROBLEMS, problems_of
from orchestrator.policy.yaml_loader import Document, load_file

POLICY_FILE, SERVICES_FILE = "policy.yml", "services.yml"
_NO_POLICY = (
    "name yours with -c POLICY or in RESGUARDO_POLICY, or go to its folder; for a new installation resguardo init "
    "writes one"
)
_NO_SERVICES = "restore it, or say in policy.yml's services_file where it is; resguardo init writes a new one"
_NO_NAMED_SERVICES = "correct policy.yml's services_file, or restore the file"
_Model = TypeVar("_Model", bound=BaseModel)


def load(policy_path: str, options: Models, environ: Mapping[str, str] | None = None) -> Config:
    """Load policy.yml and the services.yml beside it (or `services_file`).

    policy_path: as the user gave it; messages repeat it · options: the Options model of every engine by name ·
    environ: for `${VAR}`, the process's own by default. Raises PolicyInvalid with every problem of both files.
    """
    real = os.path.realpath(policy_path)
    directory = os.path.dirname(real)
    problems: list[Problem] = []
    policy = _read(policy_path, policy_path, environ, problems, _NO_POLICY)
    if policy is None and not os.path.lexists(policy_path):
        raise PolicyInvalid(problems)  # who is in the wrong folder needs no second message of services.yml
    found = _validate(policy, Policy, directory, problems)
    path, shown_path = _services_path(policy, policy_path, directory)
    named = policy is not None and isinstance(policy.data, dict) and "services_file" in policy.data
    services = _read(path, shown_path, environ, problems, _NO_NAMED_SERVICES if named else _NO_SERVICES)
    inventory = _validate(services, Services, directory, problems)
    checked = check_options(services, options, directory) if services else CheckedOptions()
    problems += _not_said_yet(checked.problems, problems)
    problems += crosscheck(policy, services)
    if problems or not (policy and services and found and inventory):
        raise PolicyInvalid(_capped(problems))
    texts = {POLICY_FILE: policy.text, SERVICES_FILE: services.text}
    return Config(found, _services(found, inventory, checked), texts, _digest(texts), directory, real)


def services_path(policy_path: str) -> str | None:
    """Return where the inventory of a policy belongs, whether it is there or not; None when the policy cannot tell."""
    directory = os.path.dirname(os.path.realpath(policy_path))
    policy = _read(policy_path, policy_path, None, [])
    path = None if policy is None else _services_path(policy, policy_path, directory)[0]
    return None if path is None or path.startswith(os.path.join(directory, "~")) else path


def _read(
    path: str, shown_path: str, environ: Mapping[str, str] | None, problems: list[Problem], missing: str = ""
) -> Document | None:
    try:
        document = load_file(path, shown_path, environ, missing)
    except PolicyInvalid as error:
        problems += error.problems
        return None
    problems += document.problems
    return document if document.data is not None else None


def _validate(document: Document | None, model: type[_Model], directory: str, problems: list[Problem]) -> _Model | None:
    if document is None:
        return None
    try:
        return model.model_validate(document.data, context={"directory": directory})
    except ValidationError as error:
        # A key that the loader could not read has no value: its own problem says why.
        unread = {problem.key for problem in document.problems}
        problems += [found for found in problems_of(document, error, model) if found.key not in unread]
        return None


def _services_path(policy: Document | None, policy_path: str, directory: str) -> tuple[str, str]:
    """Return the path of services.yml, and how messages call it: like policy.yml where they stand together."""
    given = policy.data.get("services_file") if policy and isinstance(policy.data, dict) else None
    path = os.path.join(directory, given if isinstance(given, str) and given else SERVICES_FILE)
    folder = os.path.dirname(policy_path)
    beside = os.path.abspath(folder) == directory and os.path.dirname(path) == directory
    return path, os.path.join(folder, os.path.basename(path)) if beside else path


def _not_said_yet(new: Iterable[Problem], said: Iterable[Problem]) -> list[Problem]:
    """Leave out what was said of the same key already: `paths` are checked by two models."""
    keys = {(problem.file, problem.key) for problem in said}
    return [problem for problem in new if (problem.file, problem.key) not in keys]


def _capped(problems: list[Problem]) -> list[Problem]:
    unique = list({(p.file, p.line, p.column, p.key, p.message): p for p in problems}.values())
    if len(unique) <= MOST_PROBLEMS:
        return unique
    first = sorted(unique, key=lambda problem: (problem.file, problem.line, problem.column))[:MOST_PROBLEMS]
    last = first[-1]
    more = f"and {len(unique) - MOST_PROBLEMS} more problems from here on"
    return [*first, Problem(last.file, last.line, last.column + 1, "", more)]


def _digest(texts: Mapping[str, str]) -> str:
    """Return one digest of both texts; the lengths keep text from moving between the files unseen."""
    digest = hashlib.sha256()
    for name, text in sorted(texts.items()):
        raw = text.encode()
        digest.update(f"{name} {len(raw)}\n".encode() + raw)
    return digest.hexdigest()


def _services(policy: Policy, inventory: Services, checked: CheckedOptions) -> dict[str, ServiceConfig]:
    return {
        name: ServiceConfig(name, service.tier, _sources(policy, name, service, checked), service.enabled)
        for name, service in inventory.services.items()
    }


def _sources(policy: Policy, name: str, service: Service, checked: CheckedOptions) -> tuple[SourceConfig, ...]:
    if not service.enabled:
        return ()
    timeout = service.timeout or policy.timeout
    sources = [
        SourceConfig(
            name, key, entry.engine, entry.tier or service.tier, entry.timeout or timeout, checked.options[name, key]
        )
        for key, entry in service.databases.items()
        if entry.enabled
    ]
    if service.paths:
        options: Any = checked.options[name, FILES_ENGINE]
        sources.append(SourceConfig(name, FILES_ENGINE, FILES_ENGINE, service.tier, timeout, options))
    return tuple(sources)
