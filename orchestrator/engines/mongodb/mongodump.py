"""mongodump as the reader of a server: where it is, its arguments, and what it says."""

from __future__ import annotations

import json
import os
import re
import time

from orchestrator.engines.mongodb.connection import Target, certificate, content_of
from orchestrator.engines.mongodb.options import Options
from orchestrator.model.errors import ToolMissing
from orchestrator.model.execution import Executor, Exit, Undo

PROGRAM = "mongodump"
_KNOWN_FOR = 60.0  # seconds that a program's version is believed: fifty sources must not ask fifty times
_ANSWERS: dict[tuple[str, str], tuple[float, str]] = {}


def find(options: Options, at: Executor) -> str | None:
    """Return mongodump's path where tools run, None when the driver is to read. Raises ToolMissing."""
    if options.dumper == "driver" or (options.dumper == "auto" and options.consistency == "snapshot"):
        return None
    path = at.which(os.path.join(options.tools, PROGRAM) if options.tools else PROGRAM)
    if path is None and (options.dumper == PROGRAM or options.tools):
        where = options.tools or at.place or "PATH"
        raise ToolMissing(f"{PROGRAM} is not in {where}", "install the MongoDB database tools, or set dumper to driver")
    return path


def version(path: str, at: Executor, undo: Undo) -> str:
    """Return `mongodump VERSION`. Raises ToolMissing."""
    when, known = _ANSWERS.get((at.place, path), (0.0, ""))
    if known and time.monotonic() - when < _KNOWN_FOR:
        return known
    done = at.run([path, "--version"], undo=undo, deadline=30.0)
    match = re.search(rb"version:?\s+v?(\S+)", done.stdout)
    if not done.exit.ok or match is None:
        raise ToolMissing(f"{path} does not tell its version", "reinstall the MongoDB database tools")
    text = f"{PROGRAM} {match[1].decode(errors='replace')}"
    _ANSWERS[at.place, path] = (time.monotonic(), text)
    return text


def arguments(target: Target, database: str) -> tuple[list[str], dict[str, bytes]]:
    """Return (arguments, secrets) of a dump to standard output. One collection at a time: the same bytes each day."""
    options, address = target.options, target.address
    given = ["--archive", f"--db={database}", "--numParallelCollections=1"]
    given.append(f"--readPreference={options.read_preference}")
    if address.socket:
        given.append(f"--host={address.socket}")
    else:
        name = f"{options.replica_set}/" if options.replica_set else ""
        given += [f"--host={name}{address.host}:{address.port}"]
    secrets: dict[str, bytes] = {}
    if target.user is not None:
        given += [f"--username={target.user}", f"--authenticationDatabase={options.auth_database}"]
        given.append("--config={secret:config}")
        password = target.password.reveal() if target.password else ""
        secrets["config"] = f"password: {json.dumps(password)}\n".encode()
    tls, files = _tls(options)
    return [*given, *tls], secrets | files


def _tls(options: Options) -> tuple[list[str], dict[str, bytes]]:
    tls = options.tls
    if tls.sslmode == "disable":
        return [], {}
    given, files = ["--ssl"], {}
    if tls.ca:
        given.append("--sslCAFile={secret:ca}")
        files["ca"] = content_of(tls.ca)
    if tls.cert:
        given.append("--sslPEMKeyFile={secret:pem}")
        files["pem"] = certificate(options)
    if tls.sslmode == "require":
        given.append("--sslAllowInvalidCertificates")
    if tls.sslmode in {"require", "verify-ca"}:
        given.append("--sslAllowInvalidHostnames")
    return given, files


def failure(end: Exit) -> str:
    """Say how it failed."""
    lines = [line.strip() for line in end.stderr_tail.splitlines() if line.strip()]
    told = next((line for line in reversed(lines) if "Failed:" in line), lines[-1] if lines else "")
    reason = re.sub(r"^\S+\s+(?=Failed:)", "", told).rstrip(".")
    how = f"signal {end.signal}" if end.signal else f"exit code {end.code}"
    if end.timed_out:
        how = "took too long"
    return f"{PROGRAM} failed ({how}){': ' if reason else ''}{reason}"
