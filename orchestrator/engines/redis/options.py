"""What a Redis or Valkey source can be told in services.yml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from orchestrator.engines._server import Mode, ServerOptions, Tls
from orchestrator.policy.base import Flag, Whole
from orchestrator.policy.fault import fault
from orchestrator.policy.paths import LocalPath

PORT = 6379


class RedisTls(Tls):
    """As for every server, but that nothing can be negotiated."""

    mode: Mode | None = Field(
        default=None,
        description="libpq's sslmode; verify-full when `ca` is given, require with a `cert` alone, else no TLS. "
        "`prefer` is refused: a port of Redis speaks TLS or it does not.",
        examples=["require"],
    )


class Options(ServerOptions):
    """The keys of a `databases:` entry with `engine: redis`, beside the common ones.

    directory: the server's data directory as this host sees it; what an in-place restore replaces · method: how the
    snapshot is had · globals: whether access control lists are stored, as an item of their own · trial: whether a
    restored copy is loaded into a throw-away server.
    """

    host: str | None = Field(
        default=None,
        min_length=1,
        description="The server's name or address; 127.0.0.1 without host and socket.",
        examples=["127.0.0.1"],
    )
    port: Annotated[Whole, Field(ge=1, le=65535)] | None = Field(
        default=None, description="Its port; 6379 when left out.", examples=[6380]
    )
    socket: LocalPath | None = Field(
        default=None,
        description="The server's socket; not with host.",
        examples=["/run/redis/redis-server.sock"],
    )
    user: str | None = Field(
        default=None, min_length=1, description="The user that dumps; else the server's default one."
    )
    restore_user: str | None = Field(
        default=None,
        min_length=1,
        description="The user that creates missing users with --globals; `user` when left out.",
        examples=["admin"],
    )
    directory: LocalPath | None = Field(
        default=None,
        description="The server's data directory, as this host sees it: what --in-place replaces.",
        examples=["/var/lib/redis"],
    )
    method: Literal["replication", "cli", "bgsave"] = Field(
        default="replication",
        description="`replication`: the server sends a snapshot to us as to a replica. `cli`: the same through "
        "`redis-cli --rdb`. `bgsave`: the server writes its file, which is then read.",
    )
    globals: Flag = Field(default=True, description="Whether users and their rights (ACL) are stored too.")
    trial: Literal["auto", "never"] = Field(
        default="auto",
        description="`auto`: a restored copy is loaded into a throw-away server where the programs can be had. "
        "`never`: it is only read.",
    )
    tls: RedisTls = Field(default=RedisTls(), description="How the connection is protected.")
    tools: LocalPath | None = Field(
        default=None,
        description="The folder of redis-cli, redis-server and redis-check-rdb; else those on PATH.",
        examples=["/opt/redis/bin"],
    )

    @model_validator(mode="after")
    def _no_negotiation(self) -> Options:
        if self.tls.mode == "prefer":
            raise fault(
                "tls mode prefer: a Redis port speaks TLS or it does not", "say disable, require or verify-full"
            )
        if self.socket and self.tls.model_fields_set and self.tls_mode != "disable":
            raise fault("tls does not go with a socket", "leave one of them out")
        return self

    @property
    def tls_mode(self) -> Mode:
        """verify-full with a `ca`, require with a certificate of ours alone, else no TLS: it cannot be negotiated."""
        if self.tls.mode:
            return self.tls.mode
        if self.tls.ca:
            return "verify-full"
        return "require" if self.tls.cert else "disable"
