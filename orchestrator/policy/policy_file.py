"""The models of policy.yml: how to back up."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, ValidationInfo, WithJsonSchema, field_validator

from orchestrator.model.events import EVENTS, nouns
from orchestrator.policy import later
from orchestrator.policy.base import Name, PolicyModel, Whole
from orchestrator.policy.cron import Cron
from orchestrator.policy.fault import did_you_mean, fault, shown
from orchestrator.policy.paths import LocalPath, directory_of, resolve_path
from orchestrator.policy.repository_url import RepositoryUrl
from orchestrator.policy.retention import KeepRules, Retention
from orchestrator.policy.secret_ref import EnvName, SecretRef
from orchestrator.policy.units import DataShare, Duration, Rate, Size, Wait

HOUR, DAY, MIB, GIB = 3600.0, 86400.0, 1 << 20, 1 << 30
SEVERITIES = ("success", "partial", "failed", "warning", "recovered")
_SENT = [name for name, kind in EVENTS.items() if kind.told]
_EVENTS = (
    *SEVERITIES,
    *_SENT,
    *(f"{noun}.*" for noun in nouns() if any(name.startswith(f"{noun}.") for name in _SENT)),
)
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
_SECRET_NAME = re.compile(r"SECRET|PASSWORD|TOKEN|PRIVATE|CREDENTIAL_KEY")
_OPTION = re.compile(r"[a-z0-9]+\.[a-z0-9._-]+")


def _host(value: Any) -> str:
    if not isinstance(value, str) or not _HOST.fullmatch(value):
        hint = "use letters, digits, dots, dashes and underscores, such as hub-01; numbers need quotes"
        raise fault(f"not a host name: {shown(value)}", hint)
    return value


def _timezone(value: Any) -> str:
    if value == "UTC" and isinstance(value, str):
        return "UTC"
    import zoneinfo  # noqa: PLC0415 - reads files; most policies say UTC

    try:
        return zoneinfo.ZoneInfo(value).key
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        hint = "write a name such as Europe/Madrid; if that is what it says, install the package tzdata"
        raise fault(f"not a time zone that this machine knows: {shown(value)}", hint) from None


def _env_value(value: Any) -> str:
    return "text" if isinstance(value, str) else "reference"


EnvValue = Annotated[Annotated[SecretRef, Tag("reference")] | Annotated[str, Tag("text")], Discriminator(_env_value)]


def _option_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int | float):
        raise fault("expected text, a number, true or false")
    return str(value)


OptionValue = Annotated[
    str, BeforeValidator(_option_value), WithJsonSchema({"type": ["string", "integer", "number", "boolean"]})
]


class RepositoryPolicy(PolicyModel):
    """A restic repository. url: absolute path or restic URL · env: for restic's backend · retention: by tier."""

    url: RepositoryUrl = Field(
        description="A path, or restic's URL: sftp:user@host:/path, rest:https://…, s3:https://…."
    )
    password: SecretRef = Field(
        description="Where the repository's password is.", examples=[{"file": "var/repository.key"}]
    )
    env: dict[EnvName, EnvValue] = Field(
        default={},
        description="Credentials of the storage, given to restic alone; secrets as references.",
        examples=[{"AWS_ACCESS_KEY_ID": "demo", "AWS_SECRET_ACCESS_KEY": {"file": "/etc/resguardo/s3.key"}}],
    )
    options: dict[str, OptionValue] = Field(
        default={}, description="restic's extended options (-o key=value).", examples=[{"s3.connections": 8}]
    )
    retention: dict[Name, KeepRules] | None = Field(
        default=None, description="Keep-rules of this repository, instead of the general ones, by tier."
    )

    @field_validator("env")
    @classmethod
    def _safe_env(cls, env: dict[str, SecretRef | str]) -> dict[str, SecretRef | str]:
        for name, value in env.items():
            if name.startswith("RESTIC_") and not name.startswith("RESTIC_REST_"):
                raise fault(f"{name} is set by resguardo itself", "use the keys url and password, and the block restic")
            if isinstance(value, str) and _SECRET_NAME.search(name.upper()):
                raise fault(
                    f"{name} looks like a secret in plain text", f"write {name}: {{file: PATH}} or {{env: NAME}}"
                )
        return env

    @field_validator("options")
    @classmethod
    def _known_form(cls, options: dict[str, str]) -> dict[str, str]:
        for name in options:
            if not _OPTION.fullmatch(name):
                raise fault(f"not an option of restic: {shown(name)}", "options look like s3.connections or sftp.args")
        return options


JobKind = Literal["backup", "prune", "verify"]


def _job_kind(value: Any) -> Any:
    if isinstance(value, str) and value in later.JOBS:
        raise fault(f"{value!r} is {later.WORDS}", later.HINT)
    return value


class Job(PolicyModel):
    """An action with its time, which cron keeps. at: cron fields in the policy's time zone · services: empty: all."""

    at: Cron = Field(
        description="When cron starts it: minute hour day month weekday, or @daily and the like. Nothing is started by "
        "this key itself; `prune --simulate` counts with it."
    )
    do: Annotated[JobKind, BeforeValidator(_job_kind)] = Field(
        description="What: backup (started with `backup --job NAME`), prune or verify. With a prune job no backup "
        "applies retention by itself any more, with a verify job none checks: cron must start these commands too."
    )
    services: list[Name] = Field(
        default=[], description="Only these services, for a backup; all when left out.", examples=[["shop"]]
    )


class Health(PolicyModel):
    """When a service counts as unwell. max_age, max_duration: seconds · min_free: bytes.

    A backup is refused only where restic could not end cleanly, under 64 MiB.
    """

    max_age: Duration = Field(
        default=26 * HOUR, description="`status` calls a service overdue when its newest whole restore point is older."
    )
    min_free: Size = Field(
        default=GIB, description="Less free on a local repository's disk: a backup warns (`disk.low`)."
    )
    max_duration: Duration | None = Field(
        default=None, description="A backup that takes longer warns (`duration.exceeded`).", examples=["1h"]
    )


class Channel(PolicyModel):
    """Somewhere to send notifications: an Apprise URL, by reference."""

    url: SecretRef = Field(
        description="Where the channel's Apprise URL is; such URLs hold secrets.", examples=[{"env": "APPRISE_OPS_URL"}]
    )


def _event(value: Any) -> str:
    if isinstance(value, str) and (value in EVENTS or value.removesuffix(".*") in nouns()) and value not in _EVENTS:
        raise fault(
            f"{value} is never sent", "it stands in the log only, as a channel that fails cannot tell of itself"
        )
    if not isinstance(value, str) or value not in _EVENTS:
        hint = did_you_mean(str(value), _EVENTS, kind="events") or ""
        more = f"severities are {', '.join(SEVERITIES)}; names such as run.failed or source.* are in the reference"
        raise fault(f"not an event: {shown(value)}", hint if hint.startswith("did") else more)
    return value


EventName = Annotated[
    str,
    BeforeValidator(_event),
    WithJsonSchema({"title": "event", "enum": list(_EVENTS), "examples": ["failed", "source.*"]}),
]


class Rule(PolicyModel):
    """Which events go to which channels."""

    on: list[EventName] = Field(
        min_length=1,
        description="Severities (failed, warning …), names of events, or all of one noun (`source.*`): see events.md.",
        examples=[["failed", "partial", "recovered"]],
    )
    to: list[Name] = Field(min_length=1, description="Names of channels.", examples=[["ops"]])


class Notify(PolicyModel):
    """Whom to tell what."""

    channels: dict[Name, Channel] = Field(default={}, description="Channels by name.")
    rules: list[Rule] = Field(default=[], description="Which events go to which channels.")


def _staging_dir(value: Any, info: ValidationInfo) -> str:
    if value == "auto" and isinstance(value, str):
        return "auto"
    if not isinstance(value, str) or not value.strip():
        raise fault(f"expected a folder or auto, found {shown(value)}", "write auto unless you know better")
    return resolve_path(value, directory_of(info))


class Staging(PolicyModel):
    """Where small dumps wait for restic. dir: auto or an absolute path · max: bytes in all · source: bytes of one.

    Below a folder of the user's a private one is made for this policy; nothing beside it is touched.
    """

    dir: Annotated[
        str, BeforeValidator(_staging_dir), WithJsonSchema({"type": "string", "title": "auto or path", "minLength": 1})
    ] = Field(
        default="auto",
        description="Where dumps that are not streamed wait: auto (memory for root, else the state folder), or a "
        "folder of your own, in which a private one is made.",
        examples=["/srv/dumps"],
    )
    max: Size = Field(
        default=256 * MIB,
        description="The most that all waiting dumps together may take; never more than a quarter of the free memory.",
    )
    source: Size = Field(default=32 * MIB, description="Dumps that are larger than this are streamed instead.")


class Logs(PolicyModel):
    """The log files. keep: seconds · size: bytes of one file before a new one begins."""

    keep: Duration = Field(default=7 * DAY, description="How long log files are kept.")
    size: Size = Field(default=10 * MIB, description="Size at which a new log file begins.")


Nice = Annotated[Whole, Field(ge=0, le=19)]


class ResticPolicy(PolicyModel):
    """How restic is run. path: program or None for PATH · upload, download: KiB/s · retry_lock: seconds."""

    path: LocalPath | None = Field(
        default=None,
        description="The restic program (0.18 or newer); on PATH when left out.",
        examples=["/usr/local/bin/restic"],
    )
    compression: Literal["auto", "off", "max", "fastest", "better"] = Field(
        default="auto", description="restic's compression; fastest and better need restic 0.19."
    )
    upload: Rate | None = Field(default=None, description="The most to upload per second, such as 10MiB.")
    download: Rate | None = Field(default=None, description="The most to download per second.")
    nice: Nice | None = Field(
        default=10, description="Niceness of restic, 0 to 19; null leaves it as it is.", examples=[19]
    )
    ionice: Literal["idle", "best-effort"] | None = Field(default="idle", description="Disk class; null leaves it.")
    retry_lock: Wait = Field(default=300.0, description="How long to wait for the repository's lock.")


class Tidy(PolicyModel):
    """How often retention (forget) and freeing space (prune) are due without a job; seconds."""

    forget: Duration = Field(
        default=7 * DAY, description="A backup applies retention when the last time is longer ago than this."
    )
    prune: Duration = Field(
        default=7 * DAY,
        description="`status` asks for `prune` when space was last freed longer ago; nothing else does it.",
    )


class Check(PolicyModel):
    """How often the repository is checked without a job. every: seconds · data: share that is read, None for none."""

    every: Duration = Field(
        default=7 * DAY, description="A backup checks the repository when the last check is longer ago than this."
    )
    data: DataShare | None = Field(
        default="5%", description="How much of the data a check reads back, the next part each time; null for none."
    )


class Policy(PolicyModel):
    """policy.yml. timeout: seconds that one source may take · parallel: how many are stored side by side."""

    version: Literal[1] = Field(description="The version of this file's format.", examples=[1])
    host: Annotated[
        str, BeforeValidator(_host), WithJsonSchema({"type": "string", "pattern": f"^{_HOST.pattern}$"})
    ] = Field(
        description="The name under which this machine's restore points are kept; choose it once.", examples=["hub-01"]
    )
    timezone: Annotated[str, BeforeValidator(_timezone), WithJsonSchema({"type": "string"})] = Field(
        default="UTC", description="Time zone of days in retention, of jobs and of `--at`.", examples=["Europe/Madrid"]
    )
    parallel: Whole = Field(
        default=2, ge=1, le=16, description="How many sources are stored side by side, 1 to 16.", examples=[4]
    )
    timeout: Duration = Field(default=6 * HOUR, description="How long one source may take.")
    services_file: LocalPath | None = Field(
        default=None,
        description="The other file; services.yml beside this one when left out.",
        examples=["/etc/resguardo/hub.yml"],
    )
    repositories: dict[Name, RepositoryPolicy] = Field(min_length=1, description="Where the backups go, by name.")
    retention: Retention = Field(description="Which restore points to keep: rules per tier, and a guard.")
    jobs: dict[Name, Job] = Field(default={}, description="Scheduled actions, by name.")
    health: Health = Field(default=Health.model_construct(), description="When a service counts as unwell.")
    notify: Notify = Field(
        default=Notify.model_construct(), description="Notifications: channels, and which events go to them."
    )
    staging: Staging = Field(default=Staging.model_construct(), description="Where small dumps wait for restic.")
    logs: Logs = Field(default=Logs.model_construct(), description="The log files.")
    restic: ResticPolicy = Field(default=ResticPolicy.model_construct(), description="How restic is run.")
    tidy: Tidy = Field(default=Tidy.model_construct(), description="How often retention is due when no job says so.")
    check: Check = Field(
        default=Check.model_construct(), description="How often the repository is checked when no job says so."
    )
