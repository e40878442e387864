"""What a MongoDB source can be told in services.yml."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from orchestrator.engines._databases import ALL, DatabaseOptions
from orchestrator.engines._server import Mode, Tls
from orchestrator.policy.base import Flag
from orchestrator.policy.fault import fault

ReadPreference = Literal["primary", "primaryPreferred", "secondary", "secondaryPreferred", "nearest"]


class MongodbTls(Tls):
    """As for every server, but that nothing can be negotiated."""

    mode: Mode | None = Field(
        default=None,
        description="libpq's sslmode; verify-full when `ca` is given, require with a `cert` alone, else no TLS. "
        "`prefer` is refused: a connection of MongoDB is encrypted or it is not.",
        examples=["require"],
    )

    @model_validator(mode="after")
    def _decided(self) -> MongodbTls:
        """Nobody may believe that a connection is encrypted when it is not."""
        if self.mode == "prefer":
            raise fault("mode prefer is not possible: a connection is encrypted or it is not", "say require or disable")
        if self.mode == "disable" and (self.ca or self.cert):
            raise fault("mode disable goes without ca and cert", "leave out mode, or the files")
        return self

    @property
    def sslmode(self) -> Mode:
        """The mode, also when none is given; never `prefer`."""
        return self.mode or ("verify-full" if self.ca else "require" if self.cert else "disable")


class Options(DatabaseOptions):
    """The keys of a `databases:` entry with `engine: mongodb`, beside the common ones.

    database: one name, or `all` for each one but `local` and `config`, of which `include` and `exclude` choose some.
    dumper: what reads the server; `auto` is mongodump where it is installed. consistency: whether all collections of a
    database must be of one moment. globals: users and roles.
    """

    database: str = Field(
        default=ALL,
        min_length=1,
        description="One database, or `all`: each one but `local` and `config`.",
        examples=["hub"],
    )
    auth_database: str = Field(
        default="admin", min_length=1, description="The database that the user was created in.", examples=["hub"]
    )
    replica_set: str | None = Field(
        default=None,
        min_length=1,
        description="Name of the replica set: its members are looked for. Else only the server given is spoken to.",
        examples=["rs0"],
    )
    read_preference: ReadPreference = Field(
        default="primary", description="Which member is read; a snapshot is always read from the primary."
    )
    dumper: Literal["auto", "mongodump", "driver"] = Field(
        default="auto",
        description="What reads the server: `mongodump`, or Resguardo itself (`driver`). `auto`: mongodump where it is "
        "installed, unless `consistency` is `snapshot`.",
    )
    consistency: Literal["auto", "snapshot", "collection"] = Field(
        default="auto",
        description="`snapshot`: a database is dumped inside one transaction, or not at all. `collection`: each "
        "collection is of its own moment. `auto`: the first where the server can and the database is small enough.",
    )
    globals: Flag = Field(default=True, description="Whether users and roles are dumped too.")
    tls: MongodbTls = Field(default=MongodbTls(), description="How the connection is protected.")

    @model_validator(mode="after")
    def _consistent(self) -> Options:
        if self.consistency == "snapshot" and self.dumper == "mongodump":
            raise fault("mongodump cannot read a snapshot", "set dumper to driver or auto, or leave out consistency")
        if self.socket and not self.socket.endswith(".sock"):
            raise fault("socket does not end in .sock", "the server's socket is a file such as mongodb-27017.sock")
        if self.socket and self.replica_set:
            raise fault("replica_set is given beside a socket", "members of a replica set are reached by host and port")
        return self
