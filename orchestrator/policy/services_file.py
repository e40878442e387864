"""The models of services.yml: what to back up. Options of engines are theirs: `loading` checks them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema

from orchestrator.model.names import NAME_PATTERN
from orchestrator.policy.base import Flag, Name, PolicyModel, check_name
from orchestrator.policy.fault import fault
from orchestrator.policy.paths import LocalPath
from orchestrator.policy.units import Duration

VOLUME_PREFIX = "volume."
FILES_ENGINE = "files"
# What a service says about its paths, handed to the engine `files` as its options.
PATH_KEYS = ("paths", "exclude", "exclude_if_present", "exclude_larger_than", "exclude_caches", "one_file_system")
COMMON_KEYS = ("engine", "tier", "timeout", "enabled")


def _database_name(value: Any) -> Any:
    check_name(value)
    if value.startswith(VOLUME_PREFIX):
        raise fault(f"names that begin with {VOLUME_PREFIX!r} are kept for volumes", "choose another name")
    return value


class Database(PolicyModel):
    """A database as every engine has it; all other keys are the engine's own. timeout: seconds."""

    model_config = ConfigDict(extra="allow")

    engine: str = Field(min_length=1, description="Which kind of database.", examples=["sqlite", "postgresql"])
    tier: Name | None = Field(
        default=None, description="Retention tier; the service's when left out.", examples=["cache"]
    )
    timeout: Duration | None = Field(
        default=None, description="How long it may take; the service's when left out.", examples=["2h"]
    )
    enabled: Flag = Field(default=True, description="false leaves it out of backups.")


DatabaseName = Annotated[
    str, BeforeValidator(_database_name), WithJsonSchema({"type": "string", "pattern": f"^{NAME_PATTERN}$"})
]


class Service(PolicyModel):
    """One service: its databases and its paths. timeout: seconds · the exclude keys go with `paths`."""

    enabled: Flag = Field(default=True, description="false leaves the whole service out of backups.")
    tier: Name = Field(
        default="default", description="Retention tier of what does not say its own.", examples=["cache"]
    )
    timeout: Duration | None = Field(
        default=None, description="How long a source may take; the policy's when left out.", examples=["2h"]
    )
    databases: dict[DatabaseName, Database] = Field(default={}, description="Databases, by a name of yours.")
    paths: list[LocalPath] = Field(
        default=[],
        description="Files and folders; one that is missing makes the source partial.",
        examples=[["/srv/hub/data", "/srv/hub/.env"]],
    )
    exclude: list[str] = Field(
        default=[],
        description="What to leave out of the paths: restic's exclude patterns.",
        examples=[["*.log", "cache/"]],
    )
    exclude_if_present: list[str] = Field(
        default=[],
        description="Leave out folders that hold a file of this name (`NAME`, or `NAME:HEADER`: that begins so).",
        examples=[[".nobackup"]],
    )
    exclude_larger_than: str | None = Field(
        default=None, description="Leave out files that are larger than this.", examples=["2GiB"]
    )
    exclude_caches: Flag = Field(
        default=False, description="Leave out folders marked by a CACHEDIR.TAG file.", examples=[True]
    )
    one_file_system: Flag = Field(
        default=False, description="Do not cross into other mounted file systems.", examples=[True]
    )


class Services(PolicyModel):
    """services.yml."""

    services: dict[Name, Service] = Field(min_length=1, description="What to back up, by service.")
