"""Where a PostgreSQL server is, for its client programs and for the driver in this process, and who we are there."""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.engines._server import Purpose, Tls, login
from orchestrator.engines.postgresql.options import Options
from orchestrator.engines.postgresql.service_file import OPEN, section
from orchestrator.model.engine import Source
from orchestrator.model.errors import Precondition
from orchestrator.model.execution import Address, Executor
from orchestrator.model.secret import Secret
from orchestrator.model.waiting import Wait, poll

CONNECT_LIMIT = 10
_SOCKET_DIRS = ("/var/run/postgresql", "/run/postgresql", "/tmp")  # noqa: S108 - where servers put their sockets
_SOCKET = ".s.PGSQL."  # and the port: the socket's name in its folder
_SECTION = "resguardo"  # of the private service file that a client program gets
_CONTAINER_USER = "postgres"  # inside a container programs often run as root, whom no server knows
_FIXED = {
    "connect_timeout": str(CONNECT_LIMIT),
    "keepalives_idle": "60",
    "keepalives_interval": "10",
    "keepalives_count": "6",
}


@dataclass(frozen=True)
class Target:
    """A server's coordinates as libpq parameters; the password apart, so that it never meets an argument vector.

    near: those that are others for a driver in this process · place: where the tools run, for messages · hidden: other
    parameters that nobody may read, such as sslpassword · wait: how its answers are waited for (see `Source`) ·
    prefix: of the keys `user` and `password` in services.yml that say who this is, for messages · tls: as it
    was set, to see that its files are there.
    """

    params: Mapping[str, str]
    password: Secret | None
    wait: Wait = field(default=poll, repr=False, compare=False)
    prefix: str = ""
    hidden: Mapping[str, Secret] = field(default_factory=dict)
    near: Mapping[str, str] = field(default_factory=dict)
    place: str = ""
    tls: Tls = field(default_factory=Tls)

    @property
    def where(self) -> str:
        """For messages."""
        place = f" in {self.place}" if self.place else ""
        return f"postgresql{place} at {self.params['host']}:{self.params['port']}"

    def conninfo(self, database: str, **more: str) -> str:
        """Return a connection string, escaped: a database called `host=evil` stays a name."""
        from psycopg.conninfo import make_conninfo  # noqa: PLC0415 - drivers are imported when used

        service = {"service": _SECTION} if self.hidden else {}
        return make_conninfo("", **{**self.params, **service, **more}, dbname=database)

    def driver_conninfo(self, database: str) -> str:
        """Return a connection string with everything but the password, for a driver in this process alone."""
        from psycopg.conninfo import make_conninfo  # noqa: PLC0415 - drivers are imported when used

        hidden = {name: secret.reveal() for name, secret in self.hidden.items()}
        return make_conninfo("", **{**self.params, **self.near, **hidden}, dbname=database)

    def environment(self) -> tuple[dict[str, str], dict[str, bytes]]:
        """Return (env, secrets) for a client program."""
        env, secrets = {"LC_ALL": "C.UTF-8"}, {}
        if self.hidden:
            lines = [f"[{_SECTION}]", *(f"{name}={secret.reveal()}" for name, secret in self.hidden.items())]
            env["PGSERVICEFILE"] = "{secret:service}"
            secrets["service"] = "\n".join([*lines, ""]).encode()
        if self.password is None:
            return env, secrets
        text = self.password.reveal()
        if "\n" in text or "\r" in text:
            raise Precondition(f"{self.where}: the password holds a line break", "libpq cannot take it: change it")
        escaped = text.replace("\\", "\\\\").replace(":", "\\:")
        return env | {"PGPASSFILE": "{secret:pgpass}"}, secrets | {"pgpass": f"*:*:*:*:{escaped}\n".encode()}


def target_of(source: Source, at: Executor, purpose: Purpose = "dump") -> Target:
    """Gather a source's coordinates. Raises Precondition (service file), RightsMissing (secret), ServerUnreachable."""
    options: Options = source.options
    params: dict[str, str] = dict(_FIXED)
    if options.service:
        params |= section(options.service, options.service_file)
    user, password, prefix = login(source, purpose)
    known = params.pop("password", None)
    if password is None and not prefix and known is not None:
        password = Secret(known)
    port = str(options.port or params.get("port") or 5432)
    tls = {"sslrootcert": options.tls.ca, "sslcert": options.tls.cert, "sslkey": options.tls.key}
    params |= {key: value for key, value in tls.items() if value}
    said = bool(options.tls.model_fields_set)
    params["sslmode"] = options.tls.sslmode if said else params.get("sslmode", options.tls.sslmode)
    params["port"] = port
    params["host"] = options.socket or options.host or params.get("host") or _local(port, at)
    params["user"] = user or params.get("user") or (_CONTAINER_USER if options.container else getpass.getuser())
    if password is None and not options.container:
        _add_passfile(params)
    params.pop("dbname", None)
    hidden = {name: Secret(params.pop(name)) for name in [*params] if name not in OPEN}
    for secret in (*hidden.values(), *([password] if password else [])):
        source.hide(secret)
    return Target(params, password, source.wait, prefix, hidden, _near(params, at), at.place, options.tls)


def _local(port: str, at: Executor) -> str:
    found = (folder for folder in _SOCKET_DIRS if at.exists(f"{folder}/{_SOCKET}{port}"))
    return next(found, "localhost")


def _near(params: Mapping[str, str], at: Executor) -> dict[str, str]:
    """Return the parameters that are others for us than for the tools; none where both are in one place."""
    host, port = params["host"], params["port"]
    if not port.isdigit():
        return {}  # several hosts and ports, as a service file may list: only on this host
    socket = os.path.join(host, _SOCKET + port) if host.startswith("/") else ""
    there = Address("" if socket else host, 0 if socket else int(port), socket)
    here = at.address(there)
    if here == there:
        return {}
    if not here.socket:
        return {"host": here.host, "port": str(here.port or port)}
    folder, _, number = here.socket.rpartition(f"/{_SOCKET}")
    return {"host": folder, "port": number or port}


def _add_passfile(params: dict[str, str]) -> None:
    # Client programs get a clean environment: what libpq would find in ours is named explicitly for both.
    path = os.environ.get("PGPASSFILE") or os.path.expanduser("~/.pgpass")
    if os.path.isfile(path):
        params.setdefault("passfile", path)
