"""Temporary: until the real executor and undo list are there."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from orchestrator.model.errors import ToolMissing
from orchestrator.model.execution import Completed, Exit, KillProcess, RemovePath


class RunUndo:
    def __init__(self):
        self.n = itertools.count()

    def register(self, action):
        return str(next(self.n))

    def done(self, action_id):
        pass


class P:
    def __init__(self, popen, undo, id_, deadline, tmp, keep_err=True):
        self.popen, self.undo, self.id, self.tmp = popen, undo, id_, tmp
        self.pid = popen.pid
        self.end = time.monotonic() + deadline if deadline else None
        self.tail = b""
        self.t = threading.Thread(target=self._err, daemon=True)
        self.t.start()
        self.result = None

    def _err(self):
        for chunk in iter(lambda: self.popen.stderr.read1(65536), b""):
            self.tail = (self.tail + chunk)[-8192:]

    def _done(self, timed_out=False):
        if self.result is None:
            self.t.join()
            self.popen.stderr.close()
            rc = self.popen.returncode
            self.undo.done(self.id)
            if self.tmp:
                shutil.rmtree(self.tmp, ignore_errors=True)
            self.result = Exit(rc if rc >= 0 else 128 - rc, -rc if rc < 0 else None, self.tail.decode(errors="replace"), timed_out)
        return self.result

    def wait(self):
        try:
            self.popen.wait(None if self.end is None else max(0.01, self.end - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.stop()
            self.result = Exit(self.result.code, self.result.signal, self.result.stderr_tail, True)
        return self._done()

    def poll(self):
        return None if self.popen.poll() is None else self._done()

    def stop(self, grace=1.0):
        for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            if self.popen.poll() is not None:
                break
            self.popen.send_signal(sig)
            try:
                self.popen.wait(grace)
            except subprocess.TimeoutExpired:
                continue
        return self._done()


class HostExecutor:
    def start(self, argv, *, undo, env=None, secrets=None, stdin=None, stdout=None, user=None, deadline=None, stall=None):
        env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LC_ALL": "C.UTF-8", **(env or {})}
        tmp = None
        argv = list(argv)
        if secrets:
            tmp = tempfile.mkdtemp()
            for name, data in secrets.items():
                path = os.path.join(tmp, name)
                fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
                os.write(fd, data)
                os.close(fd)
                argv = [a.replace(f"{{secret:{name}}}", path) for a in argv]
                env = {k: v.replace(f"{{secret:{name}}}", path) for k, v in env.items()}
            if user:
                shutil.chown(tmp, user)
                for name in secrets:
                    shutil.chown(os.path.join(tmp, name), user)
        try:
            popen = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL if stdin is None else stdin,
                                     stdout=subprocess.DEVNULL if stdout is None else stdout, stderr=subprocess.PIPE, user=user)
        except FileNotFoundError as e:
            raise ToolMissing(f"{argv[0]}: not found", "install it") from e
        start = int(Path(f"/proc/{popen.pid}/stat").read_text().rpartition(")")[2].split()[19])
        id_ = undo.register(KillProcess(popen.pid, start, "boot", 0, "dump"))
        return P(popen, undo, id_, deadline, tmp)

    def run(self, argv, *, undo, env=None, secrets=None, stdin=None, user=None, deadline=60.0):
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as inp:
            inp.write(stdin or b"")
            inp.seek(0)
            p = self.start(argv, undo=undo, env=env, secrets=secrets, stdin=inp.fileno(), stdout=out.fileno(), user=user, deadline=deadline)
            end = p.wait()
            out.seek(0)
            return Completed(end, out.read())

    def private_dir(self, undo, *, size_hint=0):
        path = tempfile.mkdtemp()
        undo.register(RemovePath(path))
        return path

    def which(self, tool):
        return shutil.which(tool)
