"""Where a server is and who we are there; a connection that has logged in."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from orchestrator.engines._guard import Beside
from orchestrator.engines.redis.options import PORT, Options
from orchestrator.engines.redis.wire import ANSWER_LIMIT, GREETING_LIMIT, Refused, Wire, reached
from orchestrator.model.engine import Source
from orchestrator.model.errors import NotRunning, Precondition, RightsMissing, ServerUnreachable
from orchestrator.model.execution import Address, Executor
from orchestrator.model.secret import Secret
from orchestrator.model.waiting import Wait, poll

if TYPE_CHECKING:
    import ssl

Purpose = Literal["dump", "restore"]
_Place = tuple[int, tuple[str, int]]  # family, and host with port


@dataclass(frozen=True)
class Target:
    """A server's coordinates. address: for tools · driver: for us (see Executor.address) · prefix: of the keys that
    say who this is, for messages · limit: seconds to wait for a byte.
    """

    options: Options
    address: Address
    driver: Address
    user: str
    password: Secret | None
    wait: Wait = field(default=poll, repr=False, compare=False)
    prefix: str = ""
    place: str = ""
    limit: float = ANSWER_LIMIT

    @property
    def where(self) -> str:
        """For messages."""
        at = self.address.socket or f"{self.address.host}:{self.address.port}"
        return f"redis at {at}" + (f" in {self.place}" if self.place else "")

    @property
    def who(self) -> str:
        """The user's name on the server."""
        return self.user or "default"


def target_of(source: Source, at: Executor, purpose: Purpose = "dump") -> Target:
    """Gather a source's coordinates. Raises RightsMissing (secret), ServerUnreachable (no way to the container)."""
    options: Options = source.options
    user, reference, prefix = options.user, options.password, ""
    if purpose == "restore" and options.restore_user:
        user, reference, prefix = options.restore_user, options.restore_password, "restore_"
    password = source.resolve(reference) if reference is not None else None
    if password is not None:
        source.hide(password)
    address = Address("" if options.socket else options.host or "127.0.0.1", 0, options.socket or "")
    if not options.socket:
        address = Address(address.host, options.port or PORT)
    limit = min(ANSWER_LIMIT, source.timeout)
    return Target(options, address, at.address(address), user or "", password, source.wait, prefix, at.place, limit)


def connect(target: Target) -> Wire:
    """Connect and log in. Raises ServerUnreachable (NotRunning: nobody listens), RightsMissing, Precondition."""
    made = _encrypted(_reached(target), target)
    wire = Wire(made, target.where, target.wait, min(GREETING_LIMIT, target.limit))
    try:
        if target.options.tls_mode != "disable" and not target.address.socket:
            wire.handshake()
        _log_in(wire, target)
        _ping(wire, target)
        wire.wait_for(target.limit)
    except BaseException:
        wire.close()
        raise
    return wire


def _reached(target: Target) -> socket.socket:
    driver = target.driver
    hint = "start the server, or correct host, port or socket"
    try:
        if driver.socket:
            return reached(socket.AF_UNIX, driver.socket, target.wait)
        return _first_of(_addresses(driver, target.wait), target.wait)
    except PermissionError as error:
        raise RightsMissing(f"{target.where}: {_lower(error)}", "run as a user who may use the socket") from error
    except (ConnectionRefusedError, FileNotFoundError) as error:
        raise NotRunning(f"{target.where}: {_lower(error)}", hint) from error
    except OSError as error:
        raise ServerUnreachable(f"{target.where}: {_lower(error)}", hint) from error


def _addresses(driver: Address, wait: Wait) -> list[_Place]:
    """Look a name up; a resolver cannot be told to stop. Raises OSError, Interrupted."""

    def look() -> list[_Place]:
        found = socket.getaddrinfo(driver.host, driver.port, type=socket.SOCK_STREAM)
        return [(family, (str(place[0]), int(place[1]))) for family, _, _, _, place in found]

    return Beside(look, lambda _: None, "redis-name").result(wait)


def _first_of(places: list[_Place], wait: Wait) -> socket.socket:
    """Connect to the first that can be. Raises OSError: one that says nothing weighs more than one that refuses."""
    failed: list[OSError] = []
    for family, place in places:
        try:
            return reached(family, place, wait)
        except OSError as error:
            failed.append(error)
    silent = [error for error in failed if isinstance(error, TimeoutError)]
    raise (silent or failed or [OSError("the name has no address")])[-1]


def _lower(error: OSError) -> str:
    text = str(error.strerror or error).rstrip(".")
    return text[:1].lower() + text[1:]


def _encrypted(plain: socket.socket, target: Target) -> socket.socket:
    if target.options.tls_mode == "disable" or target.address.socket:
        return plain
    name = target.options.host or target.driver.host
    try:
        return _context(target.options).wrap_socket(plain, server_hostname=name, do_handshake_on_connect=False)
    except OSError as error:
        plain.close()
        raise Precondition(f"{target.where}: tls: {_lower(error)}", "check the files that `tls` names") from error


def _context(options: Options) -> ssl.SSLContext:
    import ssl  # noqa: PLC0415 - start-up

    context = ssl.create_default_context(cafile=options.tls.ca)
    # What Python 3.13 adds to the check no other client asks for, and certificates that people made themselves lack it.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.check_hostname = options.tls_mode == "verify-full"
    context.verify_mode = ssl.CERT_REQUIRED if options.tls_mode.startswith("verify") else ssl.CERT_NONE
    if options.tls.cert:
        context.load_cert_chain(options.tls.cert, options.tls.key)
    return context


def _log_in(wire: Wire, target: Target) -> None:
    if target.password is None and not target.user:
        return
    secret = target.password.reveal() if target.password else ""
    words = ["AUTH", target.user, secret] if target.user else ["AUTH", secret]
    try:
        wire.call(*words)
    except Refused as refused:
        if target.user == "" and "without any password configured" in refused.said:
            return  # a server that asks for none lets us in all the same
        raise RightsMissing(
            f"{target.where}: user {target.who!r} is refused: {refused.said}",
            f"check {target.prefix}user and {target.prefix}password",
        ) from refused


def _ping(wire: Wire, target: Target) -> None:
    """See that we are let in, in words for people when not."""
    try:
        wire.call("PING")
    except Refused as refused:
        if refused.code == "NOAUTH":
            raise RightsMissing(
                f"{target.where}: the server asks for a password", f"set {target.prefix}password"
            ) from refused
        if refused.code == "LOADING":
            raise Precondition(f"{target.where}: the server is loading its data", "wait until it has") from refused
        if refused.code == "NOPERM":
            return  # the right is not needed
        if refused.code in {"MASTERDOWN", "MISCONF"}:
            return
        raise ServerUnreachable(f"{target.where}: {refused.said}", "see the server's log") from refused


def lacking(target: Target, refused: Refused, rights: str) -> RightsMissing:
    """Say which right a user lacks, with the line that grants it."""
    return RightsMissing(
        f"{target.where}: user {target.who!r} may not do what a backup needs: {refused.said}",
        granting(target, rights),
    )


def granting(target: Target, rights: str) -> str:
    """Return the lines that give a user rights, also after the server's next start."""
    return f"ACL SETUSER {target.who} {rights}; then ACL SAVE, or CONFIG REWRITE where there is no aclfile"
