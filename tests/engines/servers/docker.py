"""A private Docker Engine: own socket, own data root, own bridge; the system's is not touched, and no packet filter is.

How an engine's conformance suite runs on the host *and* in a container: name both in its class,

    class TestRedis(StreamConformance):
        places = ("host", "container")

and leave everything else as it is. `at` is then `HostExecutor` and, in a second run of each test, `ContainerExecutor`
of a container that has this machine's /usr, /tmp and /dev/shm and its network: tools in there reach the test's server
at the same socket, port and paths. What an engine may not do (os.stat of a path of the tools' side, a driver that
connects without `at.address`) fails there only by luck, so test it with a server inside, too:

    def test_inside(docker_engine, undo):
        command = ["/usr/bin/redis-server", "--bind", "0.0.0.0"]
        with docker_engine.container(command, user="redis", memory=["/data"]) as it:
            at = it.executor()            # ContainerExecutor; it.address is its IP
            ...
            it.pause(); it.unpause(); it.kill(); it.stop(); it.start(); it.remove()

Images: `host` (the default: nothing but a skeleton, with this machine's /usr mounted read-only: any program that is
installed here runs in it, as root or as any user of this machine), `tools` (busybox with a shell) and `scratch`
(one binary, /bin/busybox, no shell). The fixture `docker_engine` (session) is one Engine per test process; who kills
the Engine itself starts another with `DockerEngine()` as a context manager.
"""

from __future__ import annotations

import fcntl
import io
import os
import random
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.adapters.container import ContainerExecutor, Daemon

if TYPE_CHECKING:
    from docker import DockerClient

_APPLETS = ("sh", "cat", "id", "env", "dd", "ls", "sleep", "rm", "yes", "head", "mkdir", "stat", "tail", "test", "kill")
_FOLDER = "resguardo-docker-"
_YOUNG = 60.0  # seconds
_PASSWD = "root:x:0:0::/root:/bin/sh\napp:x:1234:1234::/tmp:/bin/sh\n"


def missing() -> str:
    """Why no Engine can run here, "" when one can."""
    if os.geteuid() != 0:
        return "a Docker Engine needs root"
    lacking = [tool for tool in ("dockerd", "ip", "busybox", "setpriv") if shutil.which(tool) is None]
    return f"not installed: {', '.join(lacking)}" if lacking else ""


class Box:
    """A container of the tests; as a context manager it is removed at the end."""

    def __init__(self, engine: DockerEngine, container_id: str, name: str) -> None:
        self.engine = engine
        self.id = container_id
        self.name = name

    @property
    def raw(self) -> Any:
        """What docker inspect says."""
        return self.engine.client.api.inspect_container(self.id)

    @property
    def pid(self) -> int:
        """Its first process, as this machine sees it."""
        return int(self.raw["State"]["Pid"])

    @property
    def address(self) -> str:
        """Its IP."""
        return str(self.raw["NetworkSettings"]["IPAddress"])

    @property
    def logs(self) -> str:
        return self.engine.client.api.logs(self.id).decode(errors="replace")

    def executor(self, **more: Any) -> ContainerExecutor:
        """The real executor for this container."""
        return ContainerExecutor(self.engine.daemon, self.name, **more)

    def processes(self) -> list[str]:
        """Command lines of all that runs inside, without the first process's."""
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError, ValueError):
                if int(entry.name) != self.pid and self.id in (entry / "cgroup").read_text():
                    words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    if words:  # one that is only to be reaped has none
                        found.append(words)
        return found

    def file(self, path: str) -> Path:
        """A file inside, as seen from this machine; beware of links."""
        return Path(f"/proc/{self.pid}/root{path}")

    def exec(self, *argv: str, user: str = "") -> str:
        """Run a command inside; it must succeed."""
        made = self.engine.client.api.exec_create(self.id, list(argv), user=user)
        output = self.engine.client.api.exec_start(made["Id"])
        code = self.engine.client.api.exec_inspect(made["Id"])["ExitCode"]
        assert code == 0, f"{argv}: exit code {code}: {output!r}"
        return str(output.decode(errors="replace"))

    def pause(self) -> None:
        """Freeze it; on a busy machine a process may fork on for too long, and the Engine gives up."""
        from docker.errors import APIError  # noqa: PLC0415 - slow, and seldom needed

        for left in reversed(range(20)):
            try:
                return self.engine.client.api.pause(self.id)
            except APIError as error:
                if not left or "unable to freeze" not in str(error):
                    raise
                time.sleep(0.25)
        return None

    def unpause(self) -> None:
        self.engine.client.api.unpause(self.id)

    def kill(self) -> None:
        self.engine.client.api.kill(self.id)
        self.engine.client.api.wait(self.id)

    def stop(self) -> None:
        self.engine.client.api.stop(self.id, timeout=1)

    def start(self) -> None:
        self.engine.client.api.start(self.id)

    def restart(self) -> None:
        self.engine.client.api.restart(self.id, timeout=1)

    def remove(self) -> None:
        from docker.errors import NotFound  # noqa: PLC0415 - slow, and seldom needed

        with suppress(NotFound):
            self.engine.client.api.remove_container(self.id, force=True, v=True)

    def __enter__(self) -> Box:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


class DockerEngine:
    """start(), close(); also a context manager. url: what DOCKER_HOST must be."""

    def __init__(self) -> None:
        remove_stale()
        self.root = Path(tempfile.mkdtemp(prefix=_FOLDER, dir="/tmp"))
        self._alive = _locked(self.root)
        self.url = f"unix://{self.root}/docker.sock"
        self.log = self.root / "log"
        self._bridge = _bridge(self.root)
        self._process: subprocess.Popen[bytes] | None = None
        self._subnet: socket.socket | None = None
        self._count = 0

    @cached_property
    def client(self) -> DockerClient:
        from docker import DockerClient  # noqa: PLC0415 - slow, and seldom needed

        return DockerClient(base_url=self.url, timeout=30)

    @cached_property
    def daemon(self) -> Daemon:
        """The product's own connection to this Engine."""
        return Daemon(self.url)

    @property
    def pid(self) -> int:
        """dockerd's."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> DockerEngine:
        """Start dockerd, also again after `stop`."""
        if self._subnet is None:
            self._connect()
        (self.root / "daemon.json").write_text("{}")
        folder = str(self.root)
        # It ends with this process, also when that is killed.
        argv = [
            "setpriv",
            "--pdeathsig",
            "TERM",
            "dockerd",
            "--config-file",
            f"{folder}/daemon.json",
            "--data-root",
            f"{folder}/root",
        ]
        argv += ["--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid", "-H", self.url]
        argv += ["--bridge", self._bridge, "--iptables=false", "--ip-forward=false", "--ip-masq=false"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen([*argv, "--userland-proxy=false"], stdout=log, stderr=log, cwd="/")
        for _ in range(600):
            if self._answers():
                break
            if self._process.poll() is not None:
                raise AssertionError(f"dockerd did not start: {self.log.read_text()[-2000:]}")
            time.sleep(0.05)
        else:
            raise AssertionError(f"dockerd does not answer: {self.log.read_text()[-2000:]}")
        return self

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as link, suppress(OSError):
            link.settimeout(5)
            link.connect(str(self.root / "docker.sock"))
            link.sendall(b"GET /_ping HTTP/1.0\r\nHost: d\r\n\r\n")
            return b" 200 " in link.recv(4096)
        return False

    def container(
        self,
        command: Sequence[str],
        *,
        image: str = "host",
        user: str = "",
        mounts: Iterable[str] = (),
        memory: Iterable[str] = (),
        env: dict[str, str] | None = None,
        network: str = "bridge",
        name: str = "",
        init: bool = False,
        **more: Any,
    ) -> Box:
        """Run a container. mounts: folders, mounted at the same path, writable · memory: where a tmpfs is, with the
        mode of the image's folder (/data is everybody's) · network:
        bridge, host, none or container:ID · more: for the SDK's create_host_config.
        """
        self._count += 1
        name = name or f"resguardo-{os.getpid()}-{self._count}"
        binds = {place: {"bind": place, "mode": "rw"} for place in mounts}
        if image == "host":
            binds |= {place: {"bind": place, "mode": "ro"} for place in ("/usr", "/etc/alternatives")}
        api = self.client.api
        host = api.create_host_config(
            binds=binds, tmpfs=dict.fromkeys(memory, "mode=1777"), network_mode=network, init=init, **more
        )
        made = api.create_container(
            self._image(image), list(command), user=user, environment=env, host_config=host, name=name
        )
        box = Box(self, made["Id"], name)
        try:
            api.start(box.id)
        except BaseException:
            box.remove()
            raise
        return box

    def sidecar(self) -> Box:
        """A container in which this machine's programs find the tests' servers where they are on this machine."""
        places = {tempfile.gettempdir(), "/tmp", "/dev/shm"}
        return self.container(["/usr/bin/sleep", "infinity"], mounts=sorted(places), network="host")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End dockerd alone; containers end with it unless it is killed."""
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._process = None

    def close(self) -> None:
        """End everything, remove everything."""
        if "daemon" in self.__dict__:
            self.daemon.close()
        if self._process is not None and self._answers():
            with suppress(Exception):
                for each in self.client.api.containers(all=True, quiet=True):
                    self.client.api.remove_container(each["Id"], force=True, v=True)
        self.stop()
        if "client" in self.__dict__:
            self.client.close()
        _remove(self.root)
        if self._subnet is not None:
            self._subnet.close()
        os.close(self._alive)

    def __enter__(self) -> DockerEngine:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connect(self) -> None:
        """Make a bridge with a subnet that no other test process uses."""
        used = subprocess.run(["ip", "-o", "-4", "addr"], check=True, capture_output=True, text=True, timeout=20).stdout
        for number in random.SystemRandom().sample(range(256), 256):
            lock = socket.socket(
                socket.AF_UNIX
            )  # a name that is free again when this process is gone, whatever ends it
            try:
                lock.bind(f"\0resguardo-docker-subnet-{number}")
            except OSError:
                lock.close()
                continue
            self._subnet = lock
            if f" 172.29.{number}." not in used:
                break
            lock.close()
        for words in (
            ["link", "add", self._bridge, "type", "bridge"],
            ["addr", "add", f"172.29.{number}.1/24", "dev", self._bridge],
            ["link", "set", self._bridge, "up"],
        ):
            subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)

    def _image(self, name: str) -> str:
        tag = f"resguardo-{name}:1"
        if not self.client.api.images(name=tag):
            done = subprocess.run(
                ["docker", "-H", self.url, "import", "-", tag],
                input=_rootfs(name),
                check=False,
                capture_output=True,
                timeout=60,
            )
            assert done.returncode == 0, done.stderr
        return tag


# --- what an Engine leaves, also one whose tests were killed ----------------------------------------------------------


def remove_stale() -> None:
    """Remove what killed test processes left: folders that nobody holds any more, and the bridges named like them."""
    for root in Path("/tmp").glob(f"{_FOLDER}*"):
        with suppress(OSError):
            if time.time() - root.stat().st_mtime < _YOUNG:
                continue  # it may not be locked yet
            alive = _locked(root)
            _remove(root)
            os.close(alive)


def _locked(root: Path) -> int:
    """Hold a folder as long as this process lives. Raises BlockingIOError when another one does."""
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise
    return fd


def _bridge(root: Path) -> str:
    """Return an Engine's network interface: 15 letters at most."""
    return f"resg-{root.name.removeprefix(_FOLDER)}"


def _remove(root: Path) -> None:
    """End what still runs there, and remove its bridge and its files."""
    _end_rest(root)
    subprocess.run(["ip", "link", "del", _bridge(root)], check=False, capture_output=True, timeout=20)
    for place in reversed(_mounted(root)):
        subprocess.run(["umount", "-l", place], check=False, capture_output=True, timeout=20)
    shutil.rmtree(root, ignore_errors=True)


def _end_rest(root: Path) -> None:
    """End the daemons that were killed or left alone, whose command lines name the folder, and their containers."""
    ids: list[bytes] = []
    with suppress(OSError):
        ids = [os.fsencode(name) for name in os.listdir(root / "root/containers")]
    for _ in range(50):
        left = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _is_of(pid, root, ids)]
        if not left:
            return
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def _is_of(pid: int, root: Path, ids: Sequence[bytes]) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
        groups = Path(f"/proc/{pid}/cgroup").read_bytes()
    except OSError:
        return False
    name = words.split(b"\0")[0].rpartition(b"/")[2]
    is_daemon = name.startswith((b"containerd", b"docker")) and os.fsencode(f"{root}/") in words
    return is_daemon or (bool(words) and any(each in groups for each in ids))


def _mounted(root: Path) -> list[str]:
    points = [line.split(" ")[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [point for point in points if point.startswith(f"{root}/")]


def _rootfs(name: str) -> bytes:
    """Return the image's file system as a tar archive."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        made = {"host": _host, "tools": _tools, "scratch": _scratch}[name]
        made(tar)
    return archive.getvalue()


def _scratch(tar: tarfile.TarFile) -> None:
    tar.add(os.path.realpath(shutil.which("busybox") or ""), "bin/busybox")
    _folder(tar, "tmp", 0o1777)


def _tools(tar: tarfile.TarFile) -> None:
    _scratch(tar)
    for applet in _APPLETS:
        _link(tar, f"bin/{applet}", "busybox")
    _file(tar, "etc/passwd", _PASSWD)


def _host(tar: tarfile.TarFile) -> None:
    for folder in ("usr", "etc/alternatives", "root", "run", "var/lib", "var/run"):
        _folder(tar, folder, 0o755)
    for folder in ("tmp", "var/tmp", "data"):
        _folder(tar, folder, 0o1777)
    for name in ("bin", "sbin", "lib", "lib64"):
        if os.path.islink(f"/{name}"):
            _link(tar, name, os.readlink(f"/{name}").lstrip("/"))
    for name in ("passwd", "group", "nsswitch.conf", "ld.so.cache"):
        if os.path.exists(f"/etc/{name}"):
            tar.add(f"/etc/{name}", f"etc/{name}")


def _folder(tar: tarfile.TarFile, name: str, mode: int) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.mode = tarfile.DIRTYPE, mode
    tar.addfile(info)


def _link(tar: tarfile.TarFile, name: str, target: str) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
    tar.addfile(info)


def _file(tar: tarfile.TarFile, name: str, text: str) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(text), 0o644
    tar.addfile(info, io.BytesIO(text.encode()))
