"""What a PostgreSQL source can be told in services.yml."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import Field, model_validator

from orchestrator.policy.base import Flag, PolicyModel, Whole
from orchestrator.policy.fault import fault
from orchestrator.policy.paths import LocalPath
from orchestrator.policy.secret_ref import SecretRef
from orchestrator.policy.units import Duration

ALL = "all"


Mode = Literal["disable", "prefer", "require", "verify-ca", "verify-full"]


class Tls(PolicyModel):
    """How the connection is protected; `mode` is libpq's sslmode: verify-full when a `ca` is given, else prefer."""

    mode: Mode | None = None
    ca: LocalPath | None = None
    cert: LocalPath | None = None
    key: LocalPath | None = None

    @model_validator(mode="after")
    def _together(self) -> Tls:
        if bool(self.cert) != bool(self.key):
            raise fault("cert and key belong together", "give both or none")
        if self.mode in {"verify-ca", "verify-full"} and not self.ca:
            raise fault(f"mode {self.mode} needs ca", "name the file of the certificate authority")
        return self

    @property
    def sslmode(self) -> str:
        """libpq's sslmode."""
        return self.mode or ("verify-full" if self.ca else "prefer")


class Options(PolicyModel):
    """The keys of a `databases:` entry with `engine: postgresql`, beside the common ones.

    host, port, socket (a directory) or service (of service_file) say where the server is; without any of them it is
    the local socket, else localhost. database: one name, or `all` for every one that accepts connections and is no
    template, less those that match `exclude`. maintenance: the database to connect to when none is being dumped.
    restore_user, restore_password: the role that restores, verifies and swaps, when the dumping one has no right to.
    tools: directory of pg_dump, psql and pg_restore; else the installed ones that fit the server.
    lock_timeout: how long a dump waits for a table's lock.
    """

    host: str | None = Field(default=None, min_length=1)
    port: Annotated[Whole, Field(ge=1, le=65535)] | None = None
    socket: LocalPath | None = None
    service: str | None = Field(default=None, min_length=1)
    service_file: LocalPath | None = None
    database: str = Field(default=ALL, min_length=1)
    exclude: tuple[str, ...] = ()
    maintenance: str = Field(default="postgres", min_length=1)
    user: str | None = Field(default=None, min_length=1)
    password: SecretRef | None = None
    restore_user: str | None = Field(default=None, min_length=1)
    restore_password: SecretRef | None = None
    tls: Tls = Tls()
    format: Literal["plain", "custom"] = "plain"
    globals: Flag = True
    counts: Literal["exact", "none"] = "exact"
    lock_timeout: Duration = 60.0
    tools: LocalPath | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Options:
        if self.host and self.socket:
            raise fault("host and socket exclude each other", "give one of them")
        if self.service_file and not self.service:
            raise fault("service_file needs service", "name the section to read")
        if self.exclude and self.database != ALL:
            raise fault("exclude is given beside one database", "it goes with database: all")
        if self.restore_password and not self.restore_user:
            raise fault("restore_password needs restore_user", "name the role")
        return self

    def wants(self, database: str) -> bool:
        """Whether `all` covers this database."""
        return not any(database == pattern or fnmatchcase(database, pattern) for pattern in self.exclude)
