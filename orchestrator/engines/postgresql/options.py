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

    mode: Mode | None = Field(
        default=None, description="libpq's sslmode; verify-full when `ca` is given, else prefer.", examples=["require"]
    )
    ca: LocalPath | None = Field(
        default=None, description="Certificates of the authorities that are trusted.", examples=["/etc/ssl/db-ca.pem"]
    )
    cert: LocalPath | None = Field(
        default=None, description="Our certificate; goes with `key`.", examples=["/etc/resguardo/client.crt"]
    )
    key: LocalPath | None = Field(
        default=None, description="The key of our certificate.", examples=["/etc/resguardo/client.key"]
    )

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

    host: str | None = Field(
        default=None,
        min_length=1,
        description="The server's name or address. Without host, socket and service: the local socket, else localhost.",
        examples=["127.0.0.1"],
    )
    port: Annotated[Whole, Field(ge=1, le=65535)] | None = Field(
        default=None, description="Its port; the service's, or 5432, when left out.", examples=[5433]
    )
    socket: LocalPath | None = Field(
        default=None, description="The folder of the server's socket; not with host.", examples=["/run/postgresql"]
    )
    service: str | None = Field(
        default=None, min_length=1, description="A section of libpq's service file.", examples=["hub"]
    )
    service_file: LocalPath | None = Field(
        default=None,
        description="That file; else PGSERVICEFILE, ~/.pg_service.conf, pg_service.conf of PGSYSCONFDIR.",
        examples=["/etc/resguardo/pg_service.conf"],
    )
    database: str = Field(
        default=ALL,
        min_length=1,
        description="One database, or `all`: each that accepts connections and is no template.",
        examples=["hub"],
    )
    exclude: tuple[str, ...] = Field(
        default=(), description="With `database: all`: names or patterns (* ?) to leave out.", examples=[["test_*"]]
    )
    maintenance: str = Field(
        default="postgres",
        min_length=1,
        description="The database to connect to for what concerns none in particular.",
        examples=["template1"],
    )
    user: str | None = Field(
        default=None,
        min_length=1,
        description="The role that dumps; else the service's, or the name of the user who runs this program.",
        examples=["backup"],
    )
    password: SecretRef | None = Field(
        default=None,
        description="Where its password is; without it PGPASSFILE or ~/.pgpass is asked.",
        examples=[{"file": "/etc/resguardo/hub.password"}],
    )
    restore_user: str | None = Field(
        default=None,
        min_length=1,
        description="The role that restores, checks and swaps; `user` when left out.",
        examples=["postgres"],
    )
    restore_password: SecretRef | None = Field(
        default=None,
        description="Where that role's password is; `password` is never used for it.",
        examples=[{"env": "HUB_RESTORE_PASSWORD"}],
    )
    tls: Tls = Field(default=Tls(), description="How the connection is protected.")
    format: Literal["plain", "custom"] = Field(
        default="plain", description="pg_dump's format: plain SQL, or its own, uncompressed."
    )
    globals: Flag = Field(default=True, description="Whether roles and their memberships are dumped too.")
    counts: Literal["exact", "none"] = Field(
        default="exact",
        description="Whether rows are counted in the dump's own snapshot, for the check after a restore.",
    )
    lock_timeout: Duration = Field(default=60.0, description="How long a dump waits for a table's lock.")
    tools: LocalPath | None = Field(
        default=None,
        description="The folder of pg_dump, psql and pg_restore; else the installed ones that fit the server.",
        examples=["/usr/lib/postgresql/15/bin"],
    )

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
