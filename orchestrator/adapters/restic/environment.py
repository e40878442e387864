"""The environment of one restic process, and the private directory that holds its secrets.

The pump and ssh inherit restic's environment, so a secret goes into a 0600 file wherever restic can read one: the
password, the repository's URL (it may hold a password), and S3 keys (`AWS_SHARED_CREDENTIALS_FILE`). Other backends
know only variables: such values stay in the environment of restic and its children, never in an argument vector.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress

from orchestrator.adapters.restic.settings import Settings
from orchestrator.adapters.sentinel import remove_path
from orchestrator.model.errors import WrongPassword
from orchestrator.model.execution import Undo
from orchestrator.model.secret import Secret

# What restic, ssh and rclone may need of our own environment beyond the launcher's clean one; RESTIC_*, AWS_* and the
# rest stay out.
PASSED = (
    "USER",
    "LOGNAME",
    "GOMAXPROCS",
    "SSH_AUTH_SOCK",
    "XDG_CONFIG_HOME",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
)
_AWS_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
# What an INI reader returns as it is; keys with other characters stay in the environment.
_PLAIN_KEY = re.compile(r"[A-Za-z0-9/+=._-]+")


# Makes a 0700 directory that `undo` already knows; returns its path and the action's ID (`private.secrets_dir`).
MakeDir = Callable[[Undo], tuple[str, str]]


class Room:
    """A private directory of one restic process: its secrets and path lists. Removed at its end, else by `undo`."""

    def __init__(self, make: MakeDir, undo: Undo) -> None:
        self.path, self._action = make(undo)
        self._undo = undo

    def write(self, name: str, data: bytes) -> str:
        """Write a new 0600 file and return its path."""
        path = self.place(name)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        return path

    def place(self, name: str) -> str:
        """Return the path of a file in the room."""
        return os.path.join(self.path, name)

    def remove(self) -> None:
        """Remove the directory and all in it; what cannot be removed now stays registered."""
        with suppress(OSError):
            remove_path(self.path)
        if not os.path.lexists(self.path):
            self._undo.done(self._action)


def build(settings: Settings, room: Room, inherited: Mapping[str, str]) -> dict[str, str]:
    """Return what restic's environment holds beyond the launcher's clean one; its secrets are written into `room`.

    Raises WrongPassword for an empty password, and what the resolver of the password raises.
    """
    env = {name: inherited[name] for name in PASSED if name in inherited}
    env |= _backend(settings, room)
    env["RESTIC_REPOSITORY_FILE"] = room.write("repository", os.fsencode(settings.url))
    env["RESTIC_PASSWORD_FILE"] = room.write("password", _password(settings))
    env["RESTIC_CACHE_DIR"] = _folder(settings.cache, "restic")
    env["TMPDIR"] = _folder(settings.cache, "tmp")
    env["RESTIC_PROGRESS_FPS"] = "1"
    return env


def _password(settings: Settings) -> bytes:
    text = settings.password().reveal()
    if not text.strip():
        raise WrongPassword(
            f"the password of repository {settings.name} is empty", "check what its `password` refers to"
        )
    return os.fsencode(text)


def _backend(settings: Settings, room: Room) -> dict[str, str]:
    values = {key: _reveal(value) for key, value in settings.env.items()}
    keys = {key: values[key] for key in _AWS_KEYS if key in values}
    if not set(_AWS_KEYS[:2]) <= set(keys) or not all(_PLAIN_KEY.fullmatch(value) for value in keys.values()):
        return values
    text = "[default]\n" + "".join(f"{key.lower()} = {value}\n" for key, value in keys.items())
    rest = {key: value for key, value in values.items() if key not in _AWS_KEYS}
    return rest | {"AWS_SHARED_CREDENTIALS_FILE": room.write("credentials", text.encode())}


def secret_texts(settings: Settings) -> list[str]:
    """Return every secret of the backend's environment, for redaction of what restic says."""
    return [value.reveal() for value in settings.env.values() if isinstance(value, Secret)]


def _reveal(value: str | Secret) -> str:
    return value.reveal() if isinstance(value, Secret) else value


def _folder(parent: str, name: str) -> str:
    path = os.path.join(parent, name)
    os.makedirs(path, mode=0o700, exist_ok=True)
    return path
