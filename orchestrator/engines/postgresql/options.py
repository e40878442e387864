"""What a PostgreSQL source can be told in services.yml."""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, model_validator

from orchestrator.policy.secret_ref import SecretRef

ALL = "all"


def _beside_policy(path: str, info: ValidationInfo) -> str:
    directory = (info.context or {}).get("directory", "")
    return os.path.join(directory, os.path.expanduser(path)) if directory else os.path.expanduser(path)


FilePath = Annotated[str, Field(min_length=1), AfterValidator(_beside_policy)]
Mode = Literal["disable", "prefer", "require", "verify-ca", "verify-full"]


class Tls(BaseModel):
    """How the connection is protected; `mode` is libpq's sslmode: verify-full when a `ca` is given, else prefer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Mode | None = None
    ca: FilePath | None = None
    cert: FilePath | None = None
    key: FilePath | None = None

    @model_validator(mode="after")
    def _together(self) -> Tls:
        if bool(self.cert) != bool(self.key):
            raise ValueError("cert and key belong together: give both or none")
        if self.mode in {"verify-ca", "verify-full"} and not self.ca:
            raise ValueError(f"mode {self.mode} needs ca: the file of the certificate authority")
        return self

    @property
    def sslmode(self) -> str:
        """libpq's sslmode."""
        return self.mode or ("verify-full" if self.ca else "prefer")


class Options(BaseModel):
    """The keys of a `databases:` entry with `engine: postgresql`, beside the common ones.

    host, port, socket (a directory) or service (of service_file) say where the server is; without any of them it is
    the local socket, else localhost. database: one name, or `all` for every one that accepts connections and is no
    template, less those that match `exclude`. maintenance: the database to connect to when none is being dumped.
    restore_user, restore_password: the role that restores, verifies and swaps, when the dumping one has no right to.
    tools: directory of pg_dump, psql and pg_restore; else the installed ones that fit the server.
    lock_timeout: seconds that a dump waits for a table's lock.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str | None = Field(default=None, min_length=1)
    port: int | None = Field(default=None, ge=1, le=65535)
    socket: FilePath | None = None
    service: str | None = Field(default=None, min_length=1)
    service_file: FilePath | None = None
    database: str = Field(default=ALL, min_length=1)
    exclude: tuple[str, ...] = ()
    maintenance: str = Field(default="postgres", min_length=1)
    user: str | None = Field(default=None, min_length=1)
    password: SecretRef | None = None
    restore_user: str | None = Field(default=None, min_length=1)
    restore_password: SecretRef | None = None
    tls: Tls = Tls()
    format: Literal["plain", "custom"] = "plain"
    globals: bool = True
    counts: Literal["exact", "none"] = "exact"
    lock_timeout: float = Field(default=60.0, gt=0, le=86400)
    tools: FilePath | None = None
    container: str | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Options:
        if self.container is not None:
            raise ValueError("container is not available in this version: give host and port, or socket")
        if self.host and self.socket:
            raise ValueError("host and socket exclude each other")
        if self.service_file and not self.service:
            raise ValueError("service_file needs service: the section to read")
        if self.exclude and self.database != ALL:
            raise ValueError("exclude goes with database: all")
        if self.restore_password and not self.restore_user:
            raise ValueError("restore_password needs restore_user")
        return self

    def wants(self, database: str) -> bool:
        """Whether `all` covers this database."""
        return not any(database == pattern or fnmatchcase(database, pattern) for pattern in self.exclude)
