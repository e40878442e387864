"""Running engines' tools on this host."""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Callable, Mapping, Sequence

from orchestrator.adapters import private
from orchestrator.adapters.captured import captured
from orchestrator.adapters.interrupts import PROCESS, Interrupts
from orchestrator.adapters.launch import find, launch
from orchestrator.adapters.process import Child
from orchestrator.adapters.sentinel import remove_path
from orchestrator.adapters.state import StateFolder
from orchestrator.model.errors import RightsMissing
from orchestrator.model.execution import Address, Completed, Undo
from orchestrator.model.failpoints import reach


class HostExecutor:
    """Starts programs on this host, fulfilling the port `Executor`.

    `user` needs root and setpriv (util-linux).
    """

    def __init__(self, state: StateFolder, interrupts: Interrupts = PROCESS) -> None:
        self._state = state
        self._interrupts = interrupts

    def start(
        self,
        argv: Sequence[str],
        *,
        undo: Undo,
        env: Mapping[str, str] | None = None,
        secrets: Mapping[str, bytes] | None = None,
        stdin: int | None = None,
        stdout: int | None = None,
        user: str | None = None,
        deadline: float | None = None,
    ) -> Child:
        """See the port. Raises ToolMissing, RightsMissing (no such user, or not root)."""
        program = find(argv[0])
        account = _account(user)
        paths, remove = self._write_secrets(secrets or {}, account, undo)
        environment = _home(account) | {key: _fill(value, paths) for key, value in (env or {}).items()}
        try:
            return launch(
                [*_become(account), program, *(_fill(word, paths) for word in argv[1:])],
                undo=undo,
                env=environment,
                stdin=stdin,
                stdout=stdout,
                deadline=deadline,
                interrupts=self._interrupts,
                on_end=remove,
            )
        except BaseException:
            remove()
            raise

    def run(
        self,
        argv: Sequence[str],
        *,
        undo: Undo,
        env: Mapping[str, str] | None = None,
        secrets: Mapping[str, bytes] | None = None,
        stdin: bytes | None = None,
        user: str | None = None,
        deadline: float = 60.0,
    ) -> Completed:
        """See the port. Raises ToolMissing, RightsMissing, Interrupted, ResguardoError (over 16 MiB of output)."""
        return captured(
            lambda given, output: self.start(
                argv, undo=undo, env=env, secrets=secrets, stdin=given, stdout=output, user=user, deadline=deadline
            ),
            argv[0],
            stdin,
        )

    def private_dir(self, undo: Undo, *, size_hint: int = 0) -> str:
        """See the port; it is removed at the run's end. Raises DiskFull."""
        return private.private_dir(self._state, undo, size_hint=size_hint)

    @property
    def place(self) -> str:
        """See the port."""
        return ""

    def image(self) -> str:
        """See the port."""
        return ""

    def which(self, tool: str) -> str | None:
        """See the port."""
        return shutil.which(tool)

    def exists(self, path: str) -> bool:
        """See the port."""
        return os.path.exists(path)

    def address(self, address: Address) -> Address:
        """See the port: tools and drivers are in one place."""
        return address

    def _write_secrets(
        self, secrets: Mapping[str, bytes], account: pwd.struct_passwd | None, undo: Undo
    ) -> tuple[dict[str, str], Callable[[], None]]:
        """Write each secret to a file that only its reader can open; return their paths and what removes them."""
        if not secrets:
            return {}, lambda: None
        if account is None:
            folder, action = private.secrets_dir(self._state, undo)
        else:
            folder, action = private.temporary_dir(self._state, undo, account.pw_uid)

        def remove() -> None:
            remove_path(folder)
            undo.done(action)

        paths = {name: os.path.join(folder, str(number)) for number, name in enumerate(secrets)}
        try:
            for name, path in paths.items():
                _write(path, secrets[name], account)
        except BaseException:
            remove()
            raise
        reach("secret.written")
        return paths, remove


def _write(path: str, content: bytes, account: pwd.struct_passwd | None) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as stream:
        stream.write(content)
        if account is not None:
            os.fchown(fd, account.pw_uid, account.pw_gid)


def _fill(text: str, paths: Mapping[str, str]) -> str:
    for name, path in paths.items():
        text = text.replace(f"{{secret:{name}}}", path)
    return text


def _account(user: str | None) -> pwd.struct_passwd | None:
    """Return the account to become, None when nothing is to change. Raises RightsMissing."""
    if user is None:
        return None
    try:
        account = pwd.getpwnam(user)
    except KeyError as error:
        raise RightsMissing(f"user {user}: no such user on this host", hint="correct its name") from error
    if account.pw_uid == os.geteuid():
        return None
    if os.geteuid() != 0:
        raise RightsMissing(f"user {user}: only root can run tools as another user", hint=f"run as root or {user}")
    return account


def _become(account: pwd.struct_passwd | None) -> tuple[str, ...]:
    if account is None:
        return ()
    ids = (f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}")
    return (find("setpriv"), *ids, "--init-groups", "--no-new-privs", "--")


def _home(account: pwd.struct_passwd | None) -> dict[str, str]:
    return {} if account is None else {"HOME": account.pw_dir, "USER": account.pw_name, "LOGNAME": account.pw_name}
