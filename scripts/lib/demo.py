"""The demonstration's data: a small shop in SQLite and a folder of documents, made and compared.

    demo.py make FOLDER            FOLDER/shop.db and FOLDER/files; what is there already is left as it is
    demo.py compare FOLDER COPY    exit 0 when COPY holds the same database and the same documents, else 1

Standard library only. The data is the same on every machine.
"""

from __future__ import annotations

import datetime as dt
import os
import random
import sqlite3
import stat
import sys
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import quote

DATABASE = "shop.db"
DOCUMENTS = "files"

SCHEMA = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT UNIQUE, photo BLOB, since TEXT NOT NULL);
CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT NOT NULL, price REAL NOT NULL CHECK (price > 0));
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER NOT NULL REFERENCES customers, placed TEXT NOT NULL,
                     note TEXT);
CREATE TABLE order_lines (order_id INTEGER NOT NULL REFERENCES orders, product INTEGER NOT NULL REFERENCES products,
                          pieces INTEGER NOT NULL, price REAL NOT NULL, PRIMARY KEY (order_id, product)) WITHOUT ROWID;
CREATE INDEX orders_by_customer ON orders (customer, placed);
CREATE VIEW turnover AS SELECT product, sum(pieces * price) AS amount FROM order_lines GROUP BY product;
"""
GIVEN = ("Ana", "Bruno", "Chiara", "Dmitri", "Eiríkur", "Fatou", "Gül", "Hugo", "Inés", "Jürgen", "Κώστας", "李")
FAMILY = ("Alonso", "Brown", "Çelik", "D'Angelo", "Evans", "Fischer", "García", "Horvát", "Ito", 'O"Neil')
GOODS = ("tea", "coffee", "cup", "spoon", "kettle", "tin", "filter", "scale")


def fill(connection: sqlite3.Connection) -> None:
    """Create the schema and fill it with the same rows each time."""
    chance = random.Random(7)
    start = dt.date(2024, 1, 1)

    def day() -> str:
        return (start + dt.timedelta(days=chance.randrange(700))).isoformat()

    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(SCHEMA)
    customers = [
        (n, f"{chance.choice(GIVEN)} {chance.choice(FAMILY)}", f"customer{n}@example.org" if n % 9 else None,
         chance.randbytes(chance.randrange(64, 900)) if n % 4 else None, day())
        for n in range(1, 301)
    ]  # fmt: skip
    products = [(n, f"{GOODS[n % 8]} no. {n}", round(chance.uniform(0.5, 90), 2)) for n in range(1, 49)]
    orders = [(n, chance.randrange(1, 301), day(), "leave at the door" if n % 7 == 0 else None) for n in range(1, 1501)]
    lines = [
        (order[0], product[0], chance.randrange(1, 6), product[2])
        for order in orders
        for product in chance.sample(products, chance.randrange(1, 5))
    ]
    with connection:
        connection.executemany("INSERT INTO customers VALUES (?, ?, ?, ?, ?)", customers)
        connection.executemany("INSERT INTO products VALUES (?, ?, ?)", products)
        connection.executemany("INSERT INTO orders VALUES (?, ?, ?, ?)", orders)
        connection.executemany("INSERT INTO order_lines VALUES (?, ?, ?, ?)", lines)


def write_documents(folder: str) -> None:
    """Write a folder with the kinds of files that people have."""
    chance = random.Random(11)
    for month in range(1, 13):
        os.makedirs(f"{folder}/invoices/2024-{month:02}")
        for number in range(5):
            with open(f"{folder}/invoices/2024-{month:02}/invoice {number}.txt", "w", encoding="utf-8") as file:
                file.writelines(f"line {n}: {chance.randrange(10**6) / 100:.2f} €\n" for n in range(40))
    os.makedirs(f"{folder}/pictures")
    for number in range(8):
        with open(f"{folder}/pictures/{number}.raw", "wb") as file:
            file.write(chance.randbytes(100_000))
    for name, mode in (("año 2024, 'notes' 100%.txt", 0o644), ("-private", 0o600), ("empty", 0o644)):
        with open(f"{folder}/{name}", "w", encoding="utf-8") as file:
            file.write("" if name == "empty" else f"{name}\n")
        os.chmod(f"{folder}/{name}", mode)
    os.symlink("invoices/2024-12", f"{folder}/latest")


def make(folder: str) -> None:
    """Make the shop's database and documents where they are not there yet."""
    database, documents = f"{folder}/{DATABASE}", f"{folder}/{DOCUMENTS}"
    os.makedirs(folder, exist_ok=True)
    if not os.path.exists(database):
        with closing(sqlite3.connect(f"{database}.new")) as connection:
            fill(connection)
        os.rename(f"{database}.new", database)
    if not os.path.exists(documents):
        write_documents(f"{documents}.new")
        os.rename(f"{documents}.new", documents)
    with closing(open_database(database)) as connection:
        counts = ", ".join(f"{rows} {table}" for table, rows in row_counts(connection).items())
    print(f"{database}: {counts}")
    print(f"{documents}: {sum(1 for entry in tree(documents).values() if entry[0] == 'file')} files")


def open_database(path: str) -> sqlite3.Connection:
    """Open a database for reading; text that is not UTF-8 is kept as it is."""
    connection = sqlite3.connect(f"file:{quote(os.path.abspath(path))}?mode=ro", uri=True)
    connection.text_factory = lambda text: text.decode("utf-8", "surrogateescape")
    return connection


def schema(connection: sqlite3.Connection) -> dict[str, tuple[str, str]]:
    """Return every object's kind and definition by name, and the two numbers that a program may keep in the header."""
    rows = connection.execute(
        "SELECT name, type, coalesce(sql, '') FROM sqlite_master WHERE name NOT LIKE 'sqlite_stat%'"
    )
    found = {name: (kind, sql) for name, kind, sql in rows}
    for pragma in ("user_version", "application_id"):
        found[pragma] = ("pragma", str(connection.execute(f"PRAGMA {pragma}").fetchone()[0]))
    return found


def row_counts(connection: sqlite3.Connection) -> dict[str, int]:
    """Return the number of rows of each table."""
    tables = sorted(name for name, (kind, _) in schema(connection).items() if kind == "table")
    return {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in tables}


def rows_of(connection: sqlite3.Connection, table: str) -> Iterator[tuple[tuple[type, object], ...]]:
    """Yield each row as (type, value) pairs: the number 1 is not the text "1"."""
    width = len(connection.execute(f'SELECT * FROM "{table}" LIMIT 0').description)
    order = ", ".join(str(column) for column in range(1, width + 1))
    for row in connection.execute(f'SELECT * FROM "{table}" ORDER BY {order}'):
        yield tuple((type(value), value) for value in row)


def database_differences(left: str, right: str) -> Iterator[str]:
    """Yield what differs between two databases, by structure and by value."""
    with closing(open_database(left)) as one, closing(open_database(right)) as two:
        faults = [row[0] for row in two.execute("PRAGMA integrity_check") if row[0] != "ok"]
        yield from (f"{right}: {fault}" for fault in faults)
        if schema(one) != schema(two):
            yield f"{right}: the schema differs"
            return
        for table in row_counts(one):
            differing = sum(a != b for a, b in zip(rows_of(one, table), rows_of(two, table), strict=False))
            differing += abs(row_counts(one)[table] - row_counts(two)[table])
            if differing:
                yield f"{right}: {table}: {differing} rows differ"


def tree(folder: str) -> dict[str, tuple[object, ...]]:
    """Return everything below a folder: kind, permissions and content (files) or target (links), by relative path."""
    found: dict[str, tuple[object, ...]] = {}
    for base, folders, files in os.walk(folder):
        for name in folders + files:
            path = os.path.join(base, name)
            status = os.lstat(path)
            mode = stat.S_IMODE(status.st_mode)
            if stat.S_ISLNK(status.st_mode):
                entry: tuple[object, ...] = ("link", os.readlink(path))
            elif stat.S_ISDIR(status.st_mode):
                entry = ("folder", mode)
            else:
                with open(path, "rb") as file:
                    entry = ("file", mode, status.st_mtime_ns, file.read())
            found[os.path.relpath(path, folder)] = entry
    return found


def tree_differences(left: str, right: str) -> Iterator[str]:
    """Yield what differs between two folders."""
    one, two = tree(left), tree(right)
    for path in sorted(one.keys() | two.keys()):
        if path not in two:
            yield f"{right}/{path}: missing"
        elif path not in one:
            yield f"{right}/{path}: was not there before"
        elif one[path] != two[path]:
            yield f"{right}/{path}: differs"


def find_restored(folder: str, copy: str) -> tuple[str, str]:
    """Return the one SQLite database and the one copy of FOLDER/files below a restore's folder.

    Raises LookupError when there is not exactly one of each: then nothing can be said.
    """
    wanted = os.path.join(os.path.basename(os.path.abspath(folder)), DOCUMENTS)
    databases, documents = [], []
    for base, folders, files in os.walk(copy):
        if os.path.join(base, "").endswith(f"/{wanted}/"):
            documents.append(base)
            folders.clear()
            continue
        for path in (os.path.join(base, name) for name in files):
            with open(path, "rb") as file:
                if file.read(16) == b"SQLite format 3\0":
                    databases.append(path)
    if len(databases) != 1 or len(documents) != 1:
        message = f"{copy}: expected one database and one {wanted}, found {databases} and {documents}"
        raise LookupError(message)
    return databases[0], documents[0]


def compare(folder: str, copy: str) -> int:
    """Compare, say the result, return the exit code."""
    try:
        database, documents = find_restored(folder, copy)
    except LookupError as error:
        print(error, file=sys.stderr)
        return 1
    differences = [
        *database_differences(f"{folder}/{DATABASE}", database),
        *tree_differences(f"{folder}/{DOCUMENTS}", documents),
    ]
    for difference in differences[:20]:
        print(difference, file=sys.stderr)
    if differences:
        print(f"{len(differences)} differences", file=sys.stderr)
        return 1
    with closing(open_database(database)) as connection:
        rows = sum(row_counts(connection).values())
    files = tree(documents)
    size = sum(len(entry[3]) for entry in files.values() if entry[0] == "file" and isinstance(entry[3], bytes))
    print(f"{rows} rows of {database} are equal, by value and type")
    print(f"{len(files)} entries of {documents} ({size} bytes) are equal: content, permissions, times, links")
    return 0


def main(arguments: list[str]) -> int:
    """Run one of the two commands."""
    match arguments:
        case ["make", folder]:
            make(folder)
            return 0
        case ["compare", folder, copy]:
            return compare(folder, copy)
        case _:
            print(__doc__, file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
