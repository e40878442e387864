"""The scripts: their syntax, their shared pieces on real tools, and the demonstration's comparison."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.site import Site
from tests.places import let_others_in

PROJECT = Path(__file__).parents[2]
SCRIPTS = PROJECT / "scripts"
DEMO = SCRIPTS / "lib" / "demo.py"


def shell_scripts() -> list[Path]:
    """Return every shell script and library."""
    found = [path for path in (*SCRIPTS.rglob("*"), PROJECT / ".ci" / "run") if path.is_file()]
    return sorted(
        path
        for path in found
        if path.suffix == ".sh" or path.read_bytes().startswith((b"#!/usr/bin/env bash", b"#!/bin/sh"))
    )


def python_scripts() -> list[Path]:
    """Return every Python script, whatever its name ends with."""
    found = [path for path in SCRIPTS.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return sorted(
        path for path in found if path.suffix == ".py" or path.read_bytes().startswith(b"#!/usr/bin/env python3")
    )


def run(
    *argv: str | Path, cwd: Path = PROJECT, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program and return how it ended, with its output as text."""
    given = {**os.environ, **(env or {})}
    return subprocess.run(argv, cwd=cwd, env=given, capture_output=True, text=True, timeout=200, check=False)


def library(body: str, *names: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run shell code with the shared pieces at hand."""
    sources = "\n".join(f'. "{SCRIPTS}/lib/{name}.sh"' for name in ("common", *names))
    return run("bash", "-euo", "pipefail", "-c", f"{sources}\n{textwrap.dedent(body)}", env=env)


@pytest.mark.parametrize("script", shell_scripts(), ids=lambda path: path.name)
def test_shell_syntax(script: Path) -> None:
    checked = run("bash", "-n", script)
    assert checked.returncode == 0, checked.stderr


def test_shellcheck() -> None:
    if not shutil.which("shellcheck"):
        pytest.skip("shellcheck is not installed (Debian: shellcheck)")
    checked = run("shellcheck", "-x", *shell_scripts())
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("script", python_scripts(), ids=lambda path: path.name)
def test_python_scripts_compile(script: Path) -> None:
    compile(script.read_text(encoding="utf-8"), str(script), "exec")


@pytest.mark.parametrize("name", ["quickstart", "test", "bench", "fresh-machine"])
def test_help_needs_nothing(name: str, tmp_path: Path) -> None:
    ended = run(SCRIPTS / name, "--help", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert f"scripts/{name}" in ended.stdout
    assert "set -euo" not in ended.stdout


def test_the_bench_makes_the_programs_environment(tmp_path: Path) -> None:
    """On a clean clone it installs what it measures, and says why it cannot, instead of measuring nothing."""
    shutil.copytree(SCRIPTS, tmp_path / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)  # without the package pip fails, and needs no network for that
    done = run(tmp_path / "scripts" / "bench", "P1", env={"PIP_NO_INDEX": "1"})
    assert (done.returncode, done.stdout) == (4, "")
    assert "installing the project into .venv" in done.stderr
    assert (tmp_path / ".venv" / "bin" / "python").exists()


@pytest.mark.parametrize("argv", [["quickstart", "--nonsense"], ["fresh-machine"], ["fresh-machine", "debian99"]])
def test_wrong_arguments_are_refused(argv: list[str]) -> None:
    ended = run(SCRIPTS / argv[0], *argv[1:])
    assert ended.returncode == 2
    assert "HINT: " in ended.stderr


@pytest.mark.parametrize(
    ("have", "wanted", "serves"),
    [
        ("0.18.0", "0.18", True),
        ("0.9.6", "0.18", False),
        ("0.17.3", "0.18", False),
        ("1.0", "0.18", True),
        ("0.100", "0.18", True),
    ],
)
def test_versions_are_compared_as_numbers(have: str, wanted: str, serves: bool) -> None:
    assert (library(f"version_at_least {have} {wanted}").returncode == 0) is serves


@pytest.mark.parametrize(("version", "serves"), [("0.18.0", True), ("0.14.0", False), ("0.19.1-dev", True)])
def test_restic_must_be_new_enough(tmp_path: Path, version: str, serves: bool) -> None:
    program = tmp_path / "restic"
    program.write_text(f"#!/bin/sh\necho 'restic {version} compiled with go1.24 on linux/amd64'\n")
    program.chmod(0o755)
    assert (library(f"restic_serves '{program}'", "packages", "restic").returncode == 0) is serves


def test_a_program_that_is_not_there_has_no_version() -> None:
    ended = library("version=$(restic_version /nonexistent/restic)\necho \"version: '$version'\"", "packages", "restic")
    assert (ended.returncode, ended.stdout) == (0, "version: ''\n")


def test_without_restic_and_apt_it_says_how(tmp_path: Path) -> None:
    """On a machine that is not of Debian's family nothing can be taken from a distribution."""
    for name in ("id", "sed", "sort", "head", "env", "dirname"):
        (tmp_path / name).symlink_to(shutil.which(name) or "")
    body = f"TOOLS='{tmp_path}/tools'\nPATH='{tmp_path}'\nensure_restic"
    ended = library(body, "packages", "restic")
    assert ended.returncode == 4, ended.stderr
    assert "no restic 0.18 or newer was found" in ended.stderr
    assert "HINT: install it" in ended.stderr


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ("deb http://mirror.example/debian bookworm main\n", "http://mirror.example/debian/"),
        (
            "deb http://a.example/x bookworm stable\ndeb http://b.example/d bookworm main\n",
            "http://b.example/d/",
        ),
        (
            "Types: deb\nURIs: https://c.example/debian\nSuites: bookworm bookworm-updates\nComponents: main\n",
            "https://c.example/debian/",
        ),
        ("", ""),
    ],
    ids=["one-line", "several", "deb822", "none"],
)
def test_the_mirror_is_the_machines_own(tmp_path: Path, sources: str, expected: str) -> None:
    if not shutil.which("apt-get"):
        pytest.skip("impossible here: there is no apt")
    folder = tmp_path / "sources.list.d"
    folder.mkdir()
    (folder / f"x.{'sources' if 'URIs' in sources else 'list'}").write_text(sources)
    configuration = tmp_path / "apt.conf"
    configuration.write_text(f'Dir::Etc::sourcelist "/dev/null";\nDir::Etc::sourceparts "{folder}";\n')
    ended = library("own_suite() { printf bookworm; }\nmirrors", "packages", APT_CONFIG=str(configuration))
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() == expected


def test_an_unsigned_archive_is_refused(tmp_path: Path) -> None:
    """A package whose archive carries no signature of the distribution is not unpacked."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        pytest.skip("impossible here: there is no apt")
    archive = make_unsigned_archive(tmp_path / "archive")
    body = f"""
        mirrors() {{ printf 'file:{archive}/'; }}
        flavour() {{ printf debian; }}
        suite_package loose restic '{tmp_path}/out'
    """
    ended = library(body, "packages", "restic", TMPDIR=str(tmp_path))
    assert ended.returncode == 1
    assert not (tmp_path / "out").exists()
    assert "signed" in ended.stderr
    trusted = body.replace("suite_package", "SUITE_CONFIGURATION='Acquire::AllowInsecureRepositories \"true\"; "
                           "APT::Get::AllowUnauthenticated \"true\";' suite_package")  # fmt: skip
    ended = library(trusted, "packages", "restic", TMPDIR=str(tmp_path))
    assert ended.returncode == 0, ended.stderr  # so it was the signature that was missing
    assert (tmp_path / "out" / "usr" / "bin" / "restic").exists()


def make_unsigned_archive(folder: Path) -> Path:
    """Make a Debian archive without signature that holds one package, restic."""
    build = folder / "build"
    (build / "DEBIAN").mkdir(parents=True)
    (build / "usr" / "bin").mkdir(parents=True)
    (build / "usr" / "bin" / "restic").write_text("#!/bin/sh\n")
    architecture = run("dpkg", "--print-architecture").stdout.strip()
    control = f"Package: restic\nVersion: 9.9\nArchitecture: {architecture}\nMaintainer: x\nDescription: x\n"
    (build / "DEBIAN" / "control").write_text(control)
    packages = folder / "dists" / "loose" / "main" / f"binary-{architecture}"
    packages.mkdir(parents=True)
    (folder / "pool").mkdir()
    deb = folder / "pool" / "restic.deb"
    built = run("dpkg-deb", "--build", "--root-owner-group", build, deb)
    assert built.returncode == 0, built.stderr
    digest = run("sha256sum", deb).stdout.split()[0]
    index = f"{control}Filename: pool/restic.deb\nSize: {deb.stat().st_size}\nSHA256: {digest}\n"
    (packages / "Packages").write_text(index)
    listed = run("sha256sum", packages / "Packages").stdout.split()[0]
    release = f"Suite: loose\nCodename: loose\nArchitectures: {architecture}\nComponents: main\n"
    release += "Date: Thu, 01 Jan 2026 00:00:00 UTC\n"
    release += f"SHA256:\n {listed} {len(index)} main/binary-{architecture}/Packages\n"
    (folder / "dists" / "loose" / "Release").write_text(release)
    let_others_in(folder)  # apt reads as its own user
    return folder


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The demonstration's data, made once."""
    made = run(sys.executable, DEMO, "make", tmp_path / "live" / "shop")
    assert made.returncode == 0, made.stderr
    return tmp_path / "live" / "shop"


@pytest.fixture
def copy(shop: Path, tmp_path: Path) -> Path:
    """A faithful copy, laid out as a restore does: the database, and the documents below their full path."""
    folder = tmp_path / "restored"
    (folder / "files").mkdir(parents=True)
    shutil.copytree(shop / "files", folder / "files" / str(shop)[1:] / "files", symlinks=True)
    with closing(sqlite3.connect(shop / "shop.db")) as live, closing(sqlite3.connect(folder / "main.sqlite")) as other:
        live.backup(other)
    return folder


def compare(shop: Path, copy: Path) -> subprocess.CompletedProcess[str]:
    """Run the comparison."""
    return run(sys.executable, DEMO, "compare", shop, copy)


def test_demo_is_the_same_everywhere(shop: Path, tmp_path: Path) -> None:
    run(sys.executable, DEMO, "make", tmp_path / "again" / "shop")
    rows = []
    for folder in (shop, tmp_path / "again" / "shop"):
        with closing(sqlite3.connect(folder / "shop.db")) as connection:
            rows.append(list(connection.iterdump()))
    assert rows[0] == rows[1]
    assert len(rows[0]) > 5000


def test_demo_leaves_what_is_there(shop: Path) -> None:
    with closing(sqlite3.connect(shop / "shop.db")) as connection, connection:
        connection.execute("DELETE FROM order_lines")
    (shop / "files" / "mine.txt").write_text("mine")
    made = run(sys.executable, DEMO, "make", shop)
    assert "0 order_lines" in made.stdout
    assert (shop / "files" / "mine.txt").read_text() == "mine"


def test_a_faithful_copy_is_equal(shop: Path, copy: Path) -> None:
    ended = compare(shop, copy)
    assert ended.returncode == 0, ended.stderr
    assert "rows of" in ended.stdout


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE products SET price = price + 0.000001 WHERE id = 7",
        "UPDATE orders SET customer = customer % 300 + 1 WHERE id = 1500",
        "UPDATE customers SET photo = CAST(name AS BLOB) WHERE id = 4",
        "UPDATE customers SET name = CAST(name AS BLOB) WHERE id = 4",
        "UPDATE customers SET email = '' WHERE email IS NULL AND id = 9",
        "DELETE FROM order_lines WHERE order_id = 1500",
        "INSERT INTO products VALUES (999, 'one more', 1.0)",
        "DROP INDEX orders_by_customer",
        "PRAGMA user_version = 3",
    ],
)
def test_one_difference_in_the_database_is_found(shop: Path, copy: Path, statement: str) -> None:
    with closing(sqlite3.connect(copy / "main.sqlite")) as connection, connection:
        connection.execute(statement)
    ended = compare(shop, copy)
    assert ended.returncode == 1
    assert "main.sqlite" in ended.stderr


def flip_one_byte(path: Path) -> None:
    """Change one byte and keep size and time."""
    times = (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=times)


def test_one_difference_in_the_documents_is_found(shop: Path, copy: Path) -> None:
    documents = copy / "files" / str(shop)[1:] / "files"
    changes: list[tuple[Callable[[], object], str]] = [
        (lambda: flip_one_byte(documents / "pictures" / "3.raw"), "pictures/3.raw"),
        (lambda: (documents / "-private").chmod(0o644), "-private"),
        (lambda: os.utime(documents / "empty", ns=(0, 0)), "empty"),
        ((documents / "extra").touch, "extra"),
        ((documents / "latest").unlink, "latest"),
    ]
    for change, name in changes:
        change()
        ended = compare(shop, copy)
        assert ended.returncode == 1
        assert f"/{name}:" in ended.stderr


@pytest.mark.parametrize("missing", ["main.sqlite", "files"])
def test_nothing_restored_is_not_equal(shop: Path, copy: Path, missing: str) -> None:
    shutil.rmtree(copy / missing) if (copy / missing).is_dir() else (copy / missing).unlink()
    ended = compare(shop, copy)
    assert ended.returncode == 1
    assert "expected one database and one shop/files" in ended.stderr


def measured(folder: Path) -> dict[str, list[str]]:
    """Return the measures of a made-up project."""
    ended = run(sys.executable, SCRIPTS / "measures", "--json", folder)
    found = json.loads(ended.stdout)
    assert ended.returncode == (1 if found["over"] else 0)
    return {"over": found["over"]}


@pytest.mark.parametrize(
    ("body", "test", "over"),
    [
        ("def f() -> int:\n    return 1\n", "", []),
        ("def f():\n    return 1\n", "", ["functions without full annotations"]),
        ("def f(a, *, b: int) -> int:\n    return b\n", "", ["functions without full annotations"]),
        ("def f() -> None:\n" + "    print()\n" * 60, "", ["function lines, longest"]),
        ("X = 1\n" * 400, "", ["module lines, longest"]),
        ("try:\n    X = 1\nexcept Exception:\n    X = 2\n", "", ["broad excepts"]),
        ("try:\n    X = 1\nexcept (ValueError, BaseException):\n    X = 2\n", "", ["broad excepts"]),
        ("try:\n    X = 1\nexcept BaseException:\n    X = 2\n    raise\n", "", []),
        ("X = 1\n", "def test_x(monkeypatch):\n    monkeypatch.setattr('a', 1)\n", ["patches per test"]),
        ("X = 1\n", "from unittest import mock\ndef test_x():\n    mock.patch('a')\n", ["patches per test"]),
        ("X = 1\n", "def test_x(monkeypatch):\n    monkeypatch.setenv('A', '1')\n", []),
    ],
)
def test_measures_find_what_is_over(tmp_path: Path, body: str, test: str, over: list[str]) -> None:
    (tmp_path / "orchestrator").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "orchestrator" / "one.py").write_text(f'"""One."""\n{body}')
    for number in range(9):  # so that the medians and percentiles of the project stay low
        (tmp_path / "orchestrator" / f"small{number}.py").write_text('"""Small."""\ndef g() -> None:\n    print()\n')
    (tmp_path / "tests" / "test_one.py").write_text(test or "def test_x():\n    assert True\n")
    found = measured(tmp_path)["over"]
    assert len(found) == len(over), found
    for name, wanted in zip(found, over, strict=True):
        assert name.startswith(wanted)


@pytest.mark.parametrize(
    ("ci", "outcome"), [("true", "1 passed, 2 skipped, 1 failed, 1 error"), ("", "1 passed, 4 skipped")]
)
def test_skips_fail_where_nothing_may_be_missing(tmp_path: Path, ci: str, outcome: str) -> None:
    (tmp_path / "test_them.py").write_text(
        textwrap.dedent("""
        import pytest
        def test_runs(): assert True
        def test_missing(): pytest.skip("rclone is missing")
        @pytest.mark.skip
        def test_silent(): assert True
        def test_kernel(): pytest.skip("impossible here: no device-mapper")
        @pytest.mark.skip(reason="does not apply: one database only")
        def test_engine(): assert True
        """)
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    argv = (sys.executable, "-m", "pytest", "-q", "-p", "tests.skips", "-p", "no:cacheprovider", tmp_path)
    ended = run(*argv, "--rootdir", tmp_path, "-c", tmp_path / "pytest.ini", env={"CI": ci, "PYTEST_ADDOPTS": ""})
    summary = ended.stdout.splitlines()[-1].rpartition(" in ")[0]
    assert sorted(summary.split(", ")) == sorted(outcome.split(", ")), ended.stdout
    assert ended.returncode == (1 if ci else 0)


def test_the_cron_line_of_the_readme_works_after_the_quickstart(site: Site) -> None:
    """As cron runs it: nothing of our environment, restic in .tools/bin alone, the quickstart's state folder."""
    (line,) = [
        line for line in (PROJECT / "README.md").read_text().splitlines() if line.startswith("0 2 * * *  root  ")
    ]
    policy = site.root / "policy.yml"
    policy.write_text(policy.read_text().replace(f"path: {site.restic}, ", ""))
    for place, program in (".tools/bin/restic", site.restic), (".venv/bin/resguardo", f"{sys.prefix}/bin/resguardo"):
        (site.root / place).parent.mkdir(parents=True)
        (site.root / place).symlink_to(program)
    (site.root / "var").mkdir()
    command = line.removeprefix("0 2 * * *  root  ").replace("/srv/resguardo", shlex.quote(str(site.root)))
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        env={"HOME": str(site.root), "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        cwd="/",
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    site.env["RESGUARDO_STATE"] = str(site.root / "var" / "state")
    assert len(site.points()) == 1
    assert "RESGUARDO_STATE=$PROJECT/var/state" in (PROJECT / "scripts" / "quickstart").read_text()
