"""What a PostgreSQL source can be told in services.yml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from orchestrator.engines._databases import ALL, DatabaseOptions, Pattern
from orchestrator.policy.base import Flag, Whole
from orchestrator.policy.fault import fault
from orchestrator.policy.paths import LocalPath
from orchestrator.policy.secret_ref import SecretRef
from orchestrator.policy.units import Duration


class Options(DatabaseOptions):
    """The keys of a `databases:` entry with `engine: postgresql`, beside the common ones.

    host, port, socket (a directory) or service (of service_file) say where the server is; without any of them it is
    the local socket, else localhost. database: one name, or `all` for every one that accepts connections and is no
    template, of which `include` and `exclude` choose some. maintenance: the database to connect to when none is being
    dumped. restore_user, restore_password: the role that restores, verifies and swaps, when the dumping one has no
    right to. tools: directory of pg_dump, psql and pg_restore; else the installed ones that fit the server.
    tables, exclude_tables: choose whose rows are dumped. lock_timeout: how long a dump waits for a table's lock ·
    upkeep_limit: seconds.
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
    content: Literal["all", "schema", "data"] = Field(
        default="all",
        description="What is dumped: everything, definitions alone, or rows alone, which only psql can restore.",
    )
    tables: tuple[Pattern, ...] = Field(
        default=(),
        description="Only these tables' rows are dumped: SCHEMA.TABLE or TABLE, with * and ?. All definitions are.",
        examples=[["orders", "audit.*"]],
    )
    exclude_tables: tuple[Pattern, ...] = Field(
        default=(), description="These tables' rows are left out; their definitions are not.", examples=[["sessions"]]
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
    format: Literal["plain", "custom"] = Field(
        default="plain", description="pg_dump's format: plain SQL, or its own, uncompressed."
    )
    globals: Flag = Field(default=True, description="Whether roles and their memberships are dumped too.")
    configuration: Flag = Field(
        default=False, description="Whether the server's configuration files are stored too, read through SQL."
    )
    upkeep: Literal["none", "analyze", "vacuum"] = Field(
        default="none", description="What to run in each database before its dump: nothing, ANALYZE, VACUUM ANALYZE."
    )
    upkeep_limit: Duration = Field(default=600.0, description="How long that may take; then the dump begins.")
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
        if self.service_file and not self.service:
            raise fault("service_file needs service", "name the section to read")
        if self.content == "schema" and (self.tables or self.exclude_tables):
            raise fault("tables are chosen for their rows, and content: schema takes none", "leave out one of them")
        if self.container and (self.tls.ca or self.tls.cert):
            raise fault("tls files and container exclude each other", "inside the container the connection is local")
        if self.container and self.service:
            raise fault("service and container exclude each other", "give port, user and password themselves")
        return self
