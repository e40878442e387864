"""What sources of every database server can be told in services.yml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from orchestrator.model.engine import Source
from orchestrator.model.errors import Precondition
from orchestrator.model.secret import Secret
from orchestrator.policy.base import PolicyModel, Whole
from orchestrator.policy.fault import fault
from orchestrator.policy.paths import LocalPath
from orchestrator.policy.secret_ref import SecretRef

Purpose = Literal["dump", "restore"]
Mode = Literal["disable", "prefer", "require", "verify-ca", "verify-full"]


class Tls(PolicyModel):
    """How the connection is protected, in libpq's words; each engine says what it does without a mode."""

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
    def sslmode(self) -> Mode:
        """The mode, also when none is given."""
        return self.mode or ("verify-full" if self.ca else "prefer")

    def check_files(self, where: str) -> None:
        """See that the files can be read: drivers hardly tell which one they miss. Raises Precondition."""
        for key in ("ca", "cert", "key"):
            path = getattr(self, key)
            try:
                if path is not None:
                    open(path, "rb").close()
            except OSError as error:
                text = f"{where}: tls.{key}: {path!r} cannot be read: {error.strerror}"
                raise Precondition(text, f"correct tls.{key} in services.yml, or make the file readable") from error


class ServerOptions(PolicyModel):
    """Where a server is and who we are there.

    container: the tools run inside it, and socket and port are the container's · restore_user, restore_password: the
    user that restores, verifies and swaps, when the dumping one has no right to · tools: directory of the client
    programs.
    """

    host: str | None = Field(
        default=None,
        min_length=1,
        description="The server's name or address. Without host and socket: the local socket, else localhost.",
        examples=["127.0.0.1"],
    )
    port: Annotated[Whole, Field(ge=1, le=65535)] | None = Field(
        default=None, description="Its port; the usual one when left out.", examples=[5433]
    )
    socket: LocalPath | None = Field(
        default=None, description="The server's socket; not with host.", examples=["/run/mysqld/mysqld.sock"]
    )
    container: str | None = Field(
        default=None,
        min_length=1,
        description="The container in which the server runs: the client programs are run inside it.",
        examples=["hub-db"],
    )
    user: str | None = Field(default=None, min_length=1, description="The user that dumps.", examples=["backup"])
    password: SecretRef | None = Field(
        default=None, description="Where its password is.", examples=[{"file": "/etc/resguardo/hub.password"}]
    )
    restore_user: str | None = Field(
        default=None,
        min_length=1,
        description="The user that restores, checks and swaps; `user` when left out.",
        examples=["root"],
    )
    restore_password: SecretRef | None = Field(
        default=None,
        description="Where that user's password is; `password` is never used for it.",
        examples=[{"env": "HUB_RESTORE_PASSWORD"}],
    )
    tls: Tls = Field(default=Tls(), description="How the connection is protected.")
    tools: LocalPath | None = Field(
        default=None, description="The folder of the client programs; else those on PATH.", examples=["/opt/db/bin"]
    )

    @model_validator(mode="after")
    def _one_place(self) -> ServerOptions:
        if self.host and self.socket:
            raise fault("host and socket exclude each other", "give one of them")
        if self.host and self.container:
            raise fault("host and container exclude each other", "the server is reached inside the container")
        if self.restore_password and not self.restore_user:
            raise fault("restore_password needs restore_user", "name the user")
        return self


def login(source: Source, purpose: Purpose) -> tuple[str | None, Secret | None, str]:
    """Return who we are for a purpose, as (user, password, prefix), None for what is not told.

    prefix: of the keys `user` and `password` in services.yml that say it, for messages. Logs leave the password out
    from here on. Raises RightsMissing (the secret cannot be read).
    """
    options: ServerOptions = source.options
    user, reference, prefix = options.user, options.password, ""
    if purpose == "restore" and options.restore_user:
        user, reference, prefix = options.restore_user, options.restore_password, "restore_"
    password = source.resolve(reference) if reference is not None else None
    if password is not None:
        source.hide(password)
    return user, password, prefix
