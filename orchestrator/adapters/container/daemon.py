"""The Docker Engine, through its SDK: opened when first needed, its errors told in our words."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator.model.errors import NotRunning, ResguardoError, RightsMissing, ServerUnreachable

if TYPE_CHECKING:
    from docker import APIClient

_UNIX = "unix://"
_USUAL = "unix:///var/run/docker.sock"
_ANSWER = 30.0  # seconds that the Engine may take to answer a question
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")  # what Docker allows
_LONGEST_HEAD = 1 << 16  # bytes of an HTTP answer's head and, when it refuses, of its body


class NotThere(ServerUnreachable):
    """There is no such container, or no such exec any more."""


class Refused(ServerUnreachable):
    """The Engine refuses a request in the container's present state (HTTP 409)."""


@dataclass(frozen=True)
class Container:
    """One container as inspected: its full ID never changes hands, its name may.

    pid, started: of its first process and when it was started: they tell a restart · addresses: in its networks ·
    shares: the ID of the container whose network it uses · ports: "5432/tcp" → (host, port) that are published.
    """

    id: str
    name: str
    status: str = ""
    pid: int = 0
    started: str = ""
    code: int = 0
    image: str = ""
    image_id: str = ""
    user: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    addresses: tuple[str, ...] = ()
    host_network: bool = False
    shares: str = ""
    ports: Mapping[str, tuple[str, int]] = field(default_factory=dict)

    @property
    def running(self) -> bool:
        """Whether its processes run; those of a paused one do not."""
        return self.status == "running"


def not_ready(container: Container) -> ServerUnreachable:
    """Say why nothing can be run inside it now."""
    name = container.name
    if container.status == "paused":
        return ServerUnreachable(f"container {name} is paused", f"docker unpause {name}")
    if container.status == "removing":
        return ServerUnreachable(f"container {name} is being removed", "it must stay during backups; run again")
    if container.status == "restarting":
        return ServerUnreachable(f"container {name} keeps restarting", f"see docker logs {name}")
    ended = f" ({container.status} with code {container.code})" if container.status == "exited" else ""
    return NotRunning(f"container {name} is not running{ended}", f"docker start {name}; see docker logs {name}")


class Daemon:
    """The Docker Engine at `url`; without one, that which DOCKER_HOST or the current context names. Thread-safe.

    answer: seconds that it may take to answer a question.
    """

    def __init__(self, url: str = "", *, answer: float = _ANSWER) -> None:
        self._answer = answer
        self._lock = threading.Lock()
        self._client: APIClient | None = None
        self._url = url
        self._where = url

    @property
    def where(self) -> str:
        """Its URL."""
        return self._where or os.environ.get("DOCKER_HOST") or _USUAL

    @property
    def unix_socket(self) -> str:
        """The path of its UNIX socket, "" when it is reached otherwise."""
        return self.where.removeprefix(_UNIX) if self.where.startswith(_UNIX) else ""

    def inspect(self, name: str) -> Container:
        """Look at a container by name or ID. Raises NotThere, ServerUnreachable, RightsMissing."""
        if not _NAME.fullmatch(name):
            raise NotThere(f"{name!r} cannot be a container's name", "correct container in services.yml")
        with self._told(f"container {name}", "see docker ps --all; correct container in services.yml") as client:
            return _container(client.inspect_container(name))

    def digest(self, image_id: str) -> str:
        """Return the digest by which a registry knows an image, else the image's own ID."""
        with self._told("the container's image", "see docker images") as client:
            digests = client.inspect_image(image_id).get("RepoDigests") or []
        return str(digests[0]).rpartition("@")[2] if digests else image_id

    def create(self, container: str, argv: Sequence[str], env: Sequence[str], user: str | None) -> str:
        """Prepare an exec and return its ID. Raises NotThere, Refused, RightsMissing (no such user)."""
        with self._told(f"container {container[:12]}", "it was removed or replaced; run again") as client:
            made = client.exec_create(
                container, list(argv), stdin=True, environment=list(env), user=user or "", workdir="/"
            )
        return str(made["Id"])

    def state(self, exec_id: str) -> tuple[bool, int | None, int]:
        """Return of an exec whether it runs, its exit code, and its PID in the Engine's namespace (0: not yet)."""
        with self._told("what was started in the container", "it was removed or replaced; run again") as client:
            found = client.exec_inspect(exec_id)
        return bool(found["Running"]), found["ExitCode"], int(found["Pid"] or 0)

    def attach(self, exec_id: str) -> socket.socket:
        """Start an exec; return the connection that carries its input, and its output in frames.

        Raises as `create`.
        """
        with self._told("the container", "see docker ps --all") as client:
            if self.unix_socket or client.base_url.startswith("http://"):
                connected = self._connected(client.base_url)
                return _hijack(connected, f"/v{client.api_version}/exec/{exec_id}/start")
            stream = client.exec_start(exec_id, socket=True)
        link: socket.socket = getattr(stream, "_sock", stream)
        link.settimeout(None)  # a tool may be silent, or take no input, for longer than the Engine may
        return link

    def _connected(self, url: str) -> socket.socket:
        """Connect to it without the SDK."""
        if not self.unix_socket:
            host, _, port = url.removeprefix("http://").rstrip("/").rpartition(":")
            return socket.create_connection((host.strip("[]"), int(port)), self._answer)
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            link.settimeout(self._answer)
            link.connect(self.unix_socket)
        except BaseException:
            link.close()
            raise
        return link

    def close(self) -> None:
        """Close the connections; safe to call again."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _opened(self) -> APIClient:
        with self._lock:
            if self._client is None:
                self._client = self._open()
            return self._client

    def _open(self) -> APIClient:
        from docker import APIClient  # noqa: PLC0415 - only where a container is used
        from docker.context import ContextAPI  # noqa: PLC0415
        from docker.utils import kwargs_from_env  # noqa: PLC0415

        settings = {"base_url": self._url} if self._url else kwargs_from_env()
        if "base_url" not in settings:
            context = ContextAPI.get_context(os.environ.get("DOCKER_CONTEXT"))
            settings = {"base_url": (context.Host if context else "") or _USUAL}
            if context and context.TLSConfig:
                settings["tls"] = context.TLSConfig
        self._where = _plain(settings["base_url"])
        return APIClient(version="auto", timeout=self._answer, **settings)

    @contextmanager
    def _told(self, what: str, hint: str) -> Iterator[APIClient]:
        """Give the client; what it raises is told in our words."""
        from docker.errors import APIError, DockerException  # noqa: PLC0415
        from requests.exceptions import RequestException  # noqa: PLC0415

        try:
            yield self._opened()
        except APIError as error:
            raise _explained(error.status_code or 500, str(error.explanation or error), what, hint) from error
        except _HttpError as error:
            raise _explained(error.status, error.text, what, hint) from error
        except (DockerException, RequestException, OSError) as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: BaseException) -> ResguardoError:
        if _caused_by(error, PermissionError):
            hint = "run as root, or as a member of the group docker"
            return RightsMissing(f"the Docker Engine at {self.where} refuses us: permission denied", hint)
        reason = _reason(error)
        hint = "start it (systemctl start docker); or correct DOCKER_HOST"
        return ServerUnreachable(f"the Docker Engine at {self.where} does not answer: {reason}", hint)


def _plain(url: str) -> str:
    return url.replace("http+unix://", _UNIX)


def _container(raw: Mapping[str, Any]) -> Container:
    state, config, network = raw["State"], raw["Config"], raw["NetworkSettings"]
    mode = str(raw["HostConfig"].get("NetworkMode", ""))
    networks = (network.get("Networks") or {}).values()
    found = [network.get("IPAddress"), *(each.get("IPAddress") for each in networks)]
    ports = {
        port: (str(places[0]["HostIp"]), int(places[0]["HostPort"]))
        for port, places in (network.get("Ports") or {}).items()
        if places
    }
    return Container(
        id=raw["Id"],
        name=str(raw["Name"]).removeprefix("/"),
        status=state["Status"],
        pid=int(state.get("Pid") or 0),
        started=str(state.get("StartedAt", "")),
        code=int(state.get("ExitCode") or 0),
        image=str(config.get("Image", "")),
        image_id=str(raw.get("Image", "")),
        user=str(config.get("User", "")),
        env=dict(each.partition("=")[::2] for each in config.get("Env") or ()),
        addresses=tuple(dict.fromkeys(address for address in found if address)),
        host_network=mode == "host",
        shares=mode.removeprefix("container:") if mode.startswith("container:") else "",
        ports=ports,
    )


class _HttpError(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


def _explained(status: int, text: str, what: str, hint: str) -> ResguardoError:
    text = " ".join(text.split())
    if status == 404 and "no matching entries" not in text:
        return NotThere(f"{what} is not there: {text}", hint)
    if status == 409:
        return Refused(f"{what}: {text}", hint)
    if no_such_user(text):
        return RightsMissing(f"{what}: {text}", "correct the user's name")
    return ServerUnreachable(f"{what}: the Docker Engine refuses (HTTP {status}): {text}", "see dockerd's log")


def no_such_user(text: str) -> bool:
    """Whether the Engine says that it does not know the user of an exec."""
    return "unable to find user" in text or "no matching entries in passwd" in text


def _caused_by(error: BaseException, kind: type[BaseException]) -> bool:
    """Whether an error or what it was made from is of this kind."""
    return any(isinstance(each, kind) for each in _causes(error))


def _causes(error: BaseException) -> list[BaseException]:
    """Return an error and all that it was made from, the innermost last."""
    found: list[BaseException] = []
    ahead: list[BaseException | None] = [error]
    while ahead and len(found) < 20:
        each = ahead.pop(0)
        if each is not None and each not in found:
            found.append(each)
            ahead += [
                *(inner for inner in each.args if isinstance(inner, BaseException)),
                each.__cause__ or each.__context__,
            ]
    return found


def _reason(error: BaseException) -> str:
    """Return the words of what went wrong first."""
    known = [each for each in _causes(error) if isinstance(each, OSError) and each.errno and each.strerror]
    text = str(known[-1].strerror) if known else str(_causes(error)[-1])
    return " ".join(text.split())[:300].rstrip(".") or type(error).__name__


def _hijack(link: socket.socket, target: str) -> socket.socket:
    """Start an exec over a connection of its own: nothing that it says at once is lost in a buffer of the SDK's."""
    body = b'{"Detach":false,"Tty":false}'
    head = (
        f"POST {target} HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    )
    try:
        link.sendall(head.encode() + body)
        _accepted(link)
        link.settimeout(None)
    except BaseException:
        link.close()
        raise
    return link


def _accepted(link: socket.socket) -> None:
    """Read the answer's head byte by byte, since frames follow. Raises _HttpError, OSError."""
    head = bytearray()
    while not head.endswith(b"\r\n\r\n"):
        byte = link.recv(1)
        if not byte or len(head) > _LONGEST_HEAD:
            raise ConnectionResetError("it closed the connection")
        head += byte
    status = int(head.split(None, 2)[1])
    if status in (101, 200):
        return
    text = b""
    with suppress(OSError):
        link.settimeout(1.0)
        while len(text) < _LONGEST_HEAD and (more := link.recv(4096)):
            text += more
            if text.rstrip().endswith(b"}"):
                break
    raise _HttpError(status, _message(text))


def _message(body: bytes) -> str:
    text = body.decode("utf-8", "replace")
    with suppress(ValueError, KeyError, TypeError):
        start = text.index("{")
        return str(json.loads(text[start : text.rindex("}") + 1])["message"])
    return text.strip()
