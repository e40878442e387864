"""Works on SQLite files in a process of its own: `python -I -S _sqlite_helper.py COMMAND …`; standard library only.

A process that opens and closes a database file drops the POSIX locks that its own SQLite connections hold on it, which
can corrupt a database in use. So the main program never opens one: it starts this file, which ends after one command.

    dump PATH DIR TIMEOUT CHECK      image of PATH to stdout, report to DIR/report
    check PATH CHECK                 report of what is wrong with PATH, and its rows, to stdout
    receive PATH PART                stdin to the new file PATH, all or nothing
    settle PATH TIMEOUT              fold -wal into PATH and remove it, report to stdout

TIMEOUT: seconds to wait for a writer's lock. CHECK: full (integrity_check and foreign_key_check must be clean) or quick
(quick_check must be clean; broken references are only noted). A report is a dict as a Python literal in ASCII, since
importing json takes as long as a small dump. `error` (with `hint` and `kind`) says what went wrong; exit code 1.
"""

from __future__ import annotations

import errno
import hashlib
import os
import sqlite3
import stat
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress

MAGIC = b"SQLite format 3\0"
CHUNK = 1 << 20
MOST_PROBLEMS = 20
RIGHTS = "reading needs the right to read the file and, in WAL mode, to write in its directory"


class Trouble(Exception):
    """What went wrong, for people. kind: missing, rights, locked, damaged or other."""

    def __init__(self, message: str, hint: str, kind: str = "other") -> None:
        super().__init__(message)
        self.hint = hint
        self.kind = kind


def uri(path: str, options: str) -> str:
    """Return the URI of a path whatever bytes it holds."""
    safe = b"/-_.0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    quoted = "".join(chr(byte) if byte in safe else f"%{byte:02x}" for byte in os.fsencode(os.path.abspath(path)))
    return f"file:{quoted}?{options}"


def connect(path: str, options: str, timeout: float = 5.0) -> sqlite3.Connection:
    """Open a database file; transactions are ours alone, and text that is not UTF-8 does not stop us."""
    connection = sqlite3.connect(uri(path, options), uri=True, timeout=timeout, isolation_level=None)
    connection.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
    return connection


def look(path: str) -> os.stat_result:
    """Refuse what SQLite would take for an empty database, or block on."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        raise Trouble("no such file", "correct `path`, or mount what holds it", "missing") from None
    if not stat.S_ISREG(found.st_mode):
        raise Trouble("is not a regular file", "give the path of the database file itself", "missing")
    if found.st_size == 0:
        raise Trouble(
            "is empty (0 bytes)", "a new database has at least one page: look for what truncated it", "missing"
        )
    return found


# SQLite's result code → what to say, what to do, kind. Codes: https://sqlite.org/rescode.html; the first that fits.
FAULTS = (
    ("SQLITE_BUSY", "stayed locked by a writer", "raise `busy`, or back up while it is quiet", "locked"),
    ("SQLITE_LOCKED", "stayed locked by a writer", "raise `busy`, or back up while it is quiet", "locked"),
    (
        "SQLITE_READONLY_ROLLBACK",
        "was left in the middle of a transaction",
        "its application must open it once, or: sqlite3 FILE 'SELECT 1 FROM sqlite_schema'",
        "damaged",
    ),
    ("SQLITE_CANTOPEN", "cannot be opened", RIGHTS, "rights"),
    ("SQLITE_READONLY", "cannot be opened", RIGHTS, "rights"),
    ("SQLITE_PERM", "cannot be opened", RIGHTS, "rights"),
    ("SQLITE_NOTADB", "is not an SQLite database, or is encrypted", "give the path of a database", "damaged"),
    ("SQLITE_CORRUPT", "is damaged", "restore the newest restore point beside it and compare", "damaged"),
    ("SQLITE_IOERR_SHORT_READ", "is damaged", "restore the newest restore point beside it and compare", "damaged"),
    ("SQLITE_FULL", "could not be copied", "free space where temporary dumps are kept", "full"),
)


def explain(error: sqlite3.Error) -> Trouble:
    """Turn SQLite's error into words that tell what to do."""
    name = getattr(error, "sqlite_errorname", "")
    for code, message, hint, kind in FAULTS:
        if name.startswith(code):
            return Trouble(f"{message} ({error})", hint, kind)
    return Trouble(
        f"could not be read ({name or type(error).__name__}: {error})",
        "if it needs collations of its application, set `check: quick`",
    )


def quote(name: str) -> str:
    """Quote an identifier."""
    return '"' + name.replace('"', '""') + '"'


def rows(connection: sqlite3.Connection) -> dict[str, int]:
    """Return the rows of every table that stores any (virtual ones store theirs in others)."""
    tables = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0"
        " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
    ).fetchall()
    # NOT INDEXED: an index may need a collation that only the application has.
    queries = {name: f"SELECT count(*) FROM {quote(name)} NOT INDEXED" for (name,) in tables}  # noqa: S608 - quoted
    return {name: connection.execute(query).fetchone()[0] for name, query in queries.items()}


def structure(connection: sqlite3.Connection, check: str) -> list[str]:
    """Return what is wrong with the file: everything that the check says, except exactly `ok`."""
    pragma = "quick_check" if check == "quick" else "integrity_check"
    try:
        found = [str(row[0]) for row in connection.execute(f"PRAGMA {pragma}({MOST_PROBLEMS})")]
    except sqlite3.OperationalError as error:
        _, said, collation = str(error).partition("no such collation sequence: ")
        if check != "quick" or not said:
            raise
        # quick_check does not look at the order in indexes, so any order will do.
        connection.create_collation(collation, lambda one, other: (one > other) - (one < other))
        return structure(connection, check)
    if found == ["ok"]:
        return []
    return found or [f"{pragma} said nothing"]


def references(connection: sqlite3.Connection) -> list[str]:
    """Return which tables refer to rows that do not exist."""
    broken: dict[tuple[str, str], int] = {}
    try:
        for table, _, parent, _ in connection.execute("PRAGMA foreign_key_check"):
            broken[table, parent] = broken.get((table, parent), 0) + 1
    except sqlite3.OperationalError as error:
        return [str(error)]
    return [
        f"{count} rows of {table!r} refer to rows of {parent!r} that do not exist"
        for (table, parent), count in sorted(broken.items())
    ]


def inspect(path: str, check: str) -> tuple[list[str], dict[str, object]]:
    """Check a file that nobody else uses: what is wrong, and a report of notes and of the rows of its tables."""
    alone = not os.path.exists(f"{path}-wal") and not os.path.exists(f"{path}-journal")
    with closing(connect(path, "immutable=1" if alone else "mode=ro")) as connection:
        wrong, loose = structure(connection, check), references(connection)
        problems, notes = (wrong, loose) if check == "quick" else (wrong + loose, [])
        return problems, {"notes": notes, "counts": rows(connection)}


def copy(path: str, target: str, timeout: float) -> float:
    """Copy the database as of one instant with SQLite's backup API; returns that instant (Unix time).

    One step copies all: in several steps, every write of another process would start it again.
    """
    with closing(connect(path, "mode=ro", timeout)) as source:
        # Python's backup() waits for ever on a locked database; once a read transaction holds its lock it never waits.
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        as_of = time.time()
        assert_whole_pages(path, source.execute("PRAGMA page_size").fetchone()[0])
        with closing(connect(target, "mode=rwc")) as image:
            image.execute("PRAGMA synchronous = OFF")
            image.execute("PRAGMA journal_mode = OFF")
            source.backup(image, pages=-1)
        source.execute("COMMIT")
    return as_of


def assert_whole_pages(path: str, page: int) -> None:
    """Refuse a file that was cut within its last page: SQLite reads zeros there, and its checks may not see it.

    A checkpoint that makes the file longer may be seen half-way, so it is looked at again.
    """
    for _ in range(10):
        size = os.stat(path).st_size
        if size % page == 0:
            return
        time.sleep(0.1)
    text = f"is cut: {size} bytes are no whole number of pages of {page}"
    raise Trouble(text, "restore the newest restore point beside it and compare", "damaged")


def leave_as_found(path: str) -> None:
    """Remove the empty -wal and the -shm that reading a WAL database creates, when it had none.

    A read-only connection cannot: it leaves them. A writing one that is the last to close removes them under SQLite's
    own locks; it writes nothing, since the -wal is empty. Where that is not allowed they stay, and do no harm.
    """
    wal = f"{path}-wal"
    if not os.path.exists(wal) or os.path.getsize(wal):
        return
    with suppress(sqlite3.Error), closing(connect(path, "mode=rw", 0)) as connection:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()


def companions(path: str) -> bool:
    """Whether a -wal or -shm is there."""
    return os.path.lexists(f"{path}-wal") or os.path.lexists(f"{path}-shm")


def send(path: str) -> tuple[int, str]:
    """Write a file to stdout; returns its bytes and SHA-256."""
    digest, size = hashlib.sha256(), 0
    fd = os.open(path, os.O_RDONLY)
    while chunk := os.read(fd, CHUNK):
        digest.update(chunk)
        view = memoryview(chunk)
        while view:
            view = view[os.write(1, view) :]
        size += len(chunk)
    os.close(fd)
    return size, digest.hexdigest()


def dump(path: str, folder: str, timeout: str, check: str) -> dict[str, object]:
    """Print an image of the database, after the image has passed its checks."""
    path = os.path.realpath(path)
    look(path)
    image = os.path.join(folder, "image.db")
    before = companions(path)
    try:
        as_of = copy(path, image, float(timeout))
    finally:
        if not before:
            leave_as_found(path)
    found, report = inspect(image, check)
    if found:
        more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
        hint = "mend it or put a restore point in its place; for broken references alone `check: quick` stores it"
        raise Trouble(f"is not sound: {'; '.join(found[:3])}{more}", hint, "damaged")
    size, digest = send(image)
    return {**report, "as_of": as_of, "bytes": size, "sha256": digest}


def check_file(path: str, check: str) -> dict[str, object]:
    """Check a database file."""
    look(path)
    problems, report = inspect(path, check)
    return {"problems": problems, **report}


def nameless(folder: str) -> int | None:
    """Open a new private file without a name, which is gone with its last holder; None where there are none."""
    try:
        return os.open(folder, os.O_WRONLY | os.O_TMPFILE, 0o600)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
            return None
        raise


def take_in(fd: int) -> int:
    """Write stdin to a file, durably; only a whole image, as its header tells its size, is taken."""
    size, head = 0, b""
    while chunk := os.read(0, CHUNK):
        head = head or chunk
        view = memoryview(chunk)
        while view:
            view = view[os.write(fd, view) :]
        size += len(chunk)
    page, pages = int.from_bytes(head[16:18], "big"), int.from_bytes(head[28:32], "big")
    if not head.startswith(MAGIC) or size != pages * (65536 if page == 1 else page):
        raise Trouble(f"the {size} bytes that came back are no whole database", "restore another point", "damaged")
    os.fsync(fd)
    return size


def receive(path: str, part: str) -> dict[str, object]:
    """Make stdin the new file PATH in one step (by way of PART where files cannot be nameless)."""
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
    fd = nameless(os.path.dirname(path))
    if fd is None:
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        size = take_in(fd)
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, "the name is taken", path)
        os.rename(part, path)
    else:
        size = take_in(fd)
        # With a directory descriptor Python uses linkat(2), which alone can follow this link to the open file.
        os.link(f"/proc/self/fd/{fd}", os.path.basename(path), dst_dir_fd=folder, follow_symlinks=True)
    os.fsync(folder)
    return {"bytes": size}


def settle(path: str, timeout: str) -> dict[str, object]:
    """Bring everything of a database into its one file, as the last connection to close does."""
    look(path)
    with open(path, "rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            # SQLite would delete the -wal of what it takes for an empty database.
            raise Trouble("is not an SQLite database", "it is left as it is", "damaged")
    with closing(connect(path, "mode=rw", float(timeout))) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return {"companions": companions(path)}


COMMANDS: dict[str, Callable[..., dict[str, object]]] = {
    "dump": dump,
    "check": check_file,
    "receive": receive,
    "settle": settle,
}


def work(command: str, arguments: list[str]) -> dict[str, object]:
    """Run one command; what goes wrong becomes its report."""
    try:
        return COMMANDS[command](*arguments)
    except Trouble as told:
        trouble = told
    except sqlite3.Error as error:
        trouble = explain(error)
    except OSError as error:
        kind = {errno.EACCES: "rights", errno.EPERM: "rights", errno.ENOSPC: "full"}.get(error.errno or 0, "other")
        trouble = Trouble(f"{error.strerror} ({error.filename or 'stream'!r})", "mend what the system says", kind)
    return {"error": str(trouble), "hint": trouble.hint, "kind": trouble.kind}


def main(argv: list[str]) -> int:
    """Hand over the command's report: on stdout, but of dump into DIR, and of receive only the error, on stderr."""
    command, arguments = argv[1], argv[2:]
    report = work(command, arguments)
    if command == "dump":
        with open(os.path.join(arguments[1], "report"), "w", encoding="ascii") as file:
            file.write(ascii(report))
    elif command == "receive":
        sys.stderr.write(str(report.get("error", "")))
    else:
        sys.stdout.write(ascii(report))
    return 1 if "error" in report else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
