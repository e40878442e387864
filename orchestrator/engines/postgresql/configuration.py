"""The server's configuration files, read through SQL, so that they come from wherever the server runs.

They are stored as a tar archive. A restore never writes over the live ones: it says which of them differ by now, and
the archive is taken out with restic. Keys and certificates that the files name are not stored: they are secrets.
"""

from __future__ import annotations

import io
import os
import tarfile
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

from orchestrator.engines._incoming import read_whole
from orchestrator.engines.postgresql.connection import Session, maintenance
from orchestrator.engines.postgresql.quoting import ident
from orchestrator.model.engine import Data, Dump, DumpEnd, Item, Restored
from orchestrator.model.errors import DumpFailed, ResguardoError, RestoreFailed
from orchestrator.model.execution import Executor, Finding, Trailer

ITEM = "configuration"
EXTENSION = "tar"
LIMIT = 16 << 20  # bytes of all files together
_FOLDER = "configuration"  # in the archive; the absolute paths follow below it
_RIGHTS = """
SELECT rolsuper OR (pg_has_role('pg_read_all_settings', 'USAGE') AND pg_has_role('pg_read_server_files', 'USAGE')
  AND has_function_privilege('pg_catalog.pg_read_binary_file(text)', 'EXECUTE'))
FROM pg_roles WHERE rolname = current_user
"""
_MAIN = """
SELECT unnest(ARRAY[current_setting('config_file'), current_setting('hba_file'), current_setting('ident_file'),
  current_setting('data_directory') || '/postgresql.auto.conf'])
"""
_INCLUDED = "SELECT DISTINCT sourcefile FROM pg_settings WHERE sourcefile IS NOT NULL"
_ALL_INCLUDED = "SELECT DISTINCT sourcefile FROM pg_file_settings WHERE sourcefile IS NOT NULL"  # unused ones, too
_HBA_INCLUDED = """
SELECT DISTINCT file_name FROM pg_hba_file_rules WHERE file_name IS NOT NULL
UNION SELECT file_name FROM pg_ident_file_mappings WHERE file_name IS NOT NULL
"""
_HBA_INCLUDES = 160000  # the version since which these files can include others
_ABSENT = "58P01"  # undefined_file

_TRAILER = Trailer(magic=_FOLDER.encode() + b"/", footer=b"\0" * 1024)


def missing_rights(session: Session) -> Finding | None:
    """Return why they cannot be read, None when they can."""
    if session.value(_RIGHTS):
        return None
    role = ident(str(session.value("SELECT current_user")))
    return Finding(
        "warning",
        "the server's configuration files are not in the backup: the role may not read them",
        f"GRANT pg_read_all_settings, pg_read_server_files TO {role}; "
        f"GRANT EXECUTE ON FUNCTION pg_read_binary_file(text) TO {role}, in the database of `maintenance`; "
        "or leave out configuration",
    )


def read(session: Session) -> dict[str, bytes]:
    """Return absolute path → content of each file that is there. Raises DumpFailed (too large), ResguardoError."""
    queries = [_MAIN, _INCLUDED]
    if session.superuser:
        queries += [_ALL_INCLUDED, *([_HBA_INCLUDED] if session.version >= _HBA_INCLUDES else [])]
    paths = {os.path.normpath(str(path)) for query in queries for (path,) in session.execute(query)}
    found: dict[str, bytes] = {}
    for path in sorted(paths):
        try:
            found[path] = bytes(session.value("SELECT pg_read_binary_file(%s)", [path]))
        except ResguardoError as error:
            if getattr(error.__cause__, "sqlstate", None) != _ABSENT:
                raise
        if sum(map(len, found.values())) > LIMIT:
            raise DumpFailed(f"the configuration files are larger than {LIMIT} bytes", "leave out configuration")
    return found


def archive(files: dict[str, bytes]) -> bytes:
    """Return a tar archive that is the same for the same files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        folder = tarfile.TarInfo(_FOLDER)
        folder.type, folder.mode = tarfile.DIRTYPE, 0o700
        tar.addfile(folder)
        for path, content in files.items():
            member = tarfile.TarInfo(f"{_FOLDER}{path}")
            member.size, member.mode = len(content), 0o600
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def unpack(data: bytes) -> dict[str, bytes]:
    """Return absolute path → content. Raises RestoreFailed for what is no archive of ours."""
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            members = [member for member in tar if member.isreg()]
            return {member.name.removeprefix(_FOLDER): _content(tar, member) for member in members}
    except tarfile.TarError as error:
        raise RestoreFailed(f"the configuration files cannot be read: {error}", "restore an older point") from error


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = tar.extractfile(member)
    return stream.read() if stream else b""


@dataclass
class ConfigurationDump:
    """Files that were read already; see orchestrator.model.engine.Dump."""

    fd: int
    end: DumpEnd
    trailer: Trailer = _TRAILER

    def finish(self) -> DumpEnd:
        """Return what was read."""
        return self.end


def dump(stack: ExitStack, session: Session) -> Dump:
    """Read all files and hand them out. Raises ResguardoError."""
    now = datetime.now(UTC)
    files = read(session)
    fd = os.memfd_create(_FOLDER, os.MFD_CLOEXEC)
    stack.callback(os.close, fd)
    with open(os.dup(fd), "wb") as stream:
        stream.write(archive(files))
    os.lseek(fd, 0, os.SEEK_SET)
    counts = {f"file {path}": len(content) for path, content in files.items()}
    return ConfigurationDump(fd, DumpEnd(counts=counts, counts_exact=True, as_of=now))


def restore(item: Item, data: Data, to: str, at: Executor) -> Restored:
    """Compare what was stored with the living files; nothing is written. Raises RestoreFailed, DataDamaged."""
    then = unpack(read_whole(data, 2 * LIMIT, "the configuration files", _BY_HAND))
    try:
        with maintenance(item.source, at) as session:
            now = read(session)
    except ResguardoError as error:
        text = f"the server's configuration files of then cannot be compared with those of now: {error.message}"
        return Restored(to, (Finding("info", text, _BY_HAND),))
    return Restored(to, tuple(_differences(then, now)))


_BY_HAND = "the files of then are taken out with restic dump: see docs/databases/postgresql.md"


def _differences(then: dict[str, bytes], now: dict[str, bytes]) -> list[Finding]:
    changed = [path for path in sorted(then) if path in now and now[path] != then[path]]
    words = {"differ from those of then": changed, "are gone": sorted({*then} - {*now})}
    found = [
        Finding("info", f"configuration files that {what}: {', '.join(paths)}; they are left as they are", _BY_HAND)
        for what, paths in words.items()
        if paths
    ]
    return found or [Finding("info", "the server's configuration files are those of then")]
