"""The composition root: the only module that wires concrete classes together."""

from __future__ import annotations

import contextlib
import os
import secrets as random
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from orchestrator import __version__, engines
from orchestrator.adapters import last_good, machine, private
from orchestrator.adapters.catalog import SqliteCatalog, set_aside
from orchestrator.adapters.executor import HostExecutor
from orchestrator.adapters.intake import HostIntakes
from orchestrator.adapters.interrupts import PROCESS
from orchestrator.adapters.lock import RunLock, shared_locks
from orchestrator.adapters.logs import EventLog
from orchestrator.adapters.notify import AppriseNotifier
from orchestrator.adapters.restic import ResticRepository, Settings, settle_locks
from orchestrator.adapters.secrets import SecretStore
from orchestrator.adapters.spawn import forbid_core_dumps
from orchestrator.adapters.stage import FileStage
from orchestrator.adapters.state import StateFolder
from orchestrator.adapters.undo import RunUndo, is_dead, reconcile
from orchestrator.model.engine import Engine, Source
from orchestrator.model.errors import PolicyInvalid, Precondition, WrongPassword
from orchestrator.model.execution import Executor, Intake, Progress, Undo
from orchestrator.model.record import Event
from orchestrator.model.secret import Secret
from orchestrator.policy import Config, load
from orchestrator.policy.policy_file import Notify
from orchestrator.policy.secret_ref import SecretRef
from orchestrator.report.notification import of_events, to_be_told
from orchestrator.runs.notify import deliver
from orchestrator.runs.toolbox import Surroundings, Toolbox

if TYPE_CHECKING:
    from orchestrator.adapters.container import ContainerExecutor, Daemon


def notifier_of(notify: Notify, secrets: SecretStore) -> AppriseNotifier:
    """Return the notifier of a policy's channels; a channel's URL is resolved when it is used."""
    return AppriseNotifier({name: partial(secrets, channel.url) for name, channel in notify.channels.items()})


def report_invalid(policy_path: str, error: PolicyInvalid, *, attended: bool = False) -> tuple[str, ...]:
    """Record that the policy is not valid, and tell the channels of the last one that was, unless a person reads it.

    A mistyped path leaves nothing behind: without a policy only an installation that was used is recorded in. Returns
    what could not be delivered.
    """
    state = StateFolder(policy_path)
    if not os.path.lexists(policy_path) and not state.exists():
        return ()
    catalog = SqliteCatalog(state.catalog)
    try:
        now = datetime.now(UTC)
        event = Event(now, "config.invalid", "failed", error.message, hint="run resguardo validate")
        catalog.add_event(event)
        good = last_good.recall(state)
        if good is None or not to_be_told(event, attended=attended):
            return ()
        for told in of_events(good.host, [event], good.notify.rules):
            catalog.queue(told.channel, told.title, told.body, told.severity, now)
        return deliver(catalog, notifier_of(good.notify, SecretStore(good.directory)), now)
    finally:
        catalog.close()


class _Resolved(Mapping[str, "str | Secret"]):
    """Backend credentials, resolved when restic needs them: a missing one is that repository's failure."""

    def __init__(self, values: Mapping[str, Any], secrets: SecretStore) -> None:
        self._values = values
        self._secrets = secrets

    def __getitem__(self, key: str) -> str | Secret:
        value = self._values[key]
        return value if isinstance(value, str) else self._secrets(value)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


@dataclass
class App:
    """The wired program for one policy."""

    config: Config
    state: StateFolder
    progress: Progress
    command: str = ""
    _sockets: WeakKeyDictionary[Undo, HostIntakes] = field(default_factory=WeakKeyDictionary)
    _sockets_lock: threading.Lock = field(default_factory=threading.Lock)
    _containers: dict[str, ContainerExecutor] = field(default_factory=dict)
    _containers_lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def open(cls, policy_path: str, progress: Progress, command: str = "") -> App:
        """Load the policy and wire; signals end children from here on. Raises PolicyInvalid, RightsMissing."""
        state = StateFolder(policy_path)
        forbid_core_dumps()
        PROCESS.install()
        app = cls(load(policy_path, engines.Options()), state, progress, command)
        policy = app.config.policy
        state.use_staging(policy.staging.dir)
        last_good.remember(
            state, last_good.LastGood(host=policy.host, directory=app.config.directory, notify=policy.notify)
        )
        return app

    def clock(self) -> datetime:
        """Return the time, UTC."""
        return datetime.now(UTC)

    @cached_property
    def secrets(self) -> SecretStore:
        """The resolver of this policy's secret references."""
        return SecretStore(self.config.directory)

    @cached_property
    def catalog(self) -> SqliteCatalog:
        """The local catalog."""
        return SqliteCatalog(self.state.catalog)

    @cached_property
    def box(self) -> Toolbox:
        """The ports for use cases."""
        sources = tuple(self._sources())
        repositories = {name: self._repository(name) for name in self.config.policy.repositories}
        log = EventLog(self.state.logs, self.config.policy.logs, self.secrets.known)
        return Toolbox(
            config=self.config,
            engines=self._engines(),
            at=self._executor,
            repositories=repositories,
            catalog=self.catalog,
            notifier=self._notifier(),
            open_intake=self._open_intake,
            stage=FileStage(),
            lock=self._lock,
            open_undo=lambda run, also: RunUndo(self.state, run, also=also),
            here=self._surroundings(repositories),
            clock=self.clock,
            token=lambda: random.token_hex(3),
            log=log,
            progress=self.progress,
            sources=sources,
            no_secret=self.secrets,
            dead=lambda: reconcile(self.state),
            unlock_stale=settle_locks,
            is_dead=lambda run: is_dead(self.state, run),
            tools={"resguardo": __version__},
        )

    def _sources(self) -> Iterator[Source]:
        for service in self.config.services.values():
            for source in service.sources:
                yield Source(
                    source.service,
                    source.name,
                    source.engine,
                    source.tier,
                    source.timeout,
                    source.options,
                    self.secrets,
                    PROCESS.wait,
                    self.secrets.learn,
                    getattr(source.options, "container", None) or "",
                )

    def _executor(self, source: Source) -> Executor:
        """Return where a source's tools run; one executor for each container, which keeps the container's ID."""
        if not source.container:
            return HostExecutor(self.state)
        with self._containers_lock:
            if source.container not in self._containers:
                from orchestrator.adapters.container import ContainerExecutor  # noqa: PLC0415 - start-up

                self._containers[source.container] = ContainerExecutor(self._docker, source.container)
            return self._containers[source.container]

    @cached_property
    def _docker(self) -> Daemon:
        from orchestrator.adapters.container import Daemon  # noqa: PLC0415 - start-up

        return Daemon()

    def _engines(self) -> dict[str, Engine]:
        used = {source.engine for service in self.config.services.values() for source in service.sources}
        return {name: engines.load(name) for name in sorted(used | {"files"})}

    def _repository(self, name: str) -> ResticRepository:
        policy, own = self.config.policy, self.config.policy.repositories[name]
        settings = Settings(
            name=name,
            url=own.url,
            host=policy.host,
            password=lambda: self._key(own.password),
            cache=self.state.cache,
            program=policy.restic.path or "restic",
            env=_Resolved(own.env, self.secrets),
            options=own.options,
            compression=policy.restic.compression,
            upload=policy.restic.upload,
            download=policy.restic.download,
            nice=policy.restic.nice,
            ionice=policy.restic.ionice,
            retry_lock=policy.restic.retry_lock,
        )
        return ResticRepository(settings, lambda undo: private.secrets_dir(self.state, undo))

    def _key(self, ref: SecretRef) -> Secret:
        """Return a repository's password. Raises WrongPassword where its file is not there, and as `secrets`."""
        if ref.file and not os.path.lexists(ref.file):
            hint = "for a new repository `resguardo init` makes it; for one with backups, put it back from its copy"
            raise WrongPassword(f"the key file {ref.file} does not exist", hint)
        return self.secrets(ref)

    def _notifier(self) -> AppriseNotifier:
        return notifier_of(self.config.policy.notify, self.secrets)

    def _surroundings(self, repositories: Mapping[str, ResticRepository]) -> Surroundings:
        stores = tuple(path for repository in repositories.values() if (path := repository.local_path()))
        places = {
            "the repository": stores,
            "resguardo's state": (self.state.root,),
            "resguardo's staging": (self.state.runtime, self.state.staging_path),
        }
        return Surroundings(
            machine=machine.machine_id(self.state),
            places=places,
            free=machine.free_bytes,
            memory=machine.available_memory,
            real=os.path.realpath,
            staging=self._staging,
            stage_free=lambda: machine.free_bytes(self.state.staging_path),
        )

    def _staging(self, place: str, undo: Undo) -> AbstractContextManager[str]:
        return private.staging_dir(self.state, undo, place)

    def _lock(self, wait: float) -> AbstractContextManager[None]:
        """Return the run lock: of this policy, and of its host name in each repository."""
        policy, stores = self.config.policy, self.box.repositories.values()
        places = [os.path.realpath(path) if (path := store.local_path()) else store.describe() for store in stores]
        shared = shared_locks(self.state.shared_locks, policy.host, places)
        return RunLock(self.state, self.command, shared=shared).acquire(wait)

    def _open_intake(self, undo: Undo) -> Intake:
        """Open an intake in the run's socket directory, which is made with the run's first one and gone with its undo.

        Each run has an undo list of its own.
        """
        with self._sockets_lock:
            if undo not in self._sockets:
                self._sockets[undo] = HostIntakes(private.socket_dir(self.state, undo))
            intakes = self._sockets[undo]
        return intakes.open()

    def key_files(self) -> list[str]:
        """Return the password files that the repositories name."""
        passwords = (repository.password for repository in self.config.policy.repositories.values())
        return [os.path.join(self.config.directory, ref.file) for ref in passwords if ref.file]

    def set_aside_catalog(self) -> str | None:
        """Put a catalog that cannot be used out of the way; return where it is now, None when it can be used."""
        try:
            self.catalog.points(items=False)
        except Precondition:
            return set_aside(self.state.catalog, self.clock())
        return None

    def close(self) -> None:
        """Close what was opened, and give the terminal back."""
        self.progress.close()
        for name in ("_docker", "catalog"):
            with contextlib.suppress(KeyError):
                self.__dict__[name].close()
