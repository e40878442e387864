"""Every command's --json: exactly one document on standard output, and it is what its committed schema says."""

from __future__ import annotations

import fcntl
import json
import shlex
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from tests.e2e.site import SERVICES, Site

FOLDER = Path(__file__).parents[2] / "docs" / "reference" / "documents"
SCHEMAS = {
    path.name.removesuffix(".schema.json"): json.loads(path.read_text(encoding="utf-8"))
    for path in FOLDER.glob("*.schema.json")
}
# keys that hold a map, whose own keys are anybody's
MAPS = frozenset({"counts", "data", "elsewhere", "failpoints", "files", "schemas", "snapshots", "unnamed"})
CLOSED = set[tuple[str, frozenset[str]]]()


def only_document(stdout: str) -> Any:
    """Return the document; anything before or after it but the end of its line is an error."""
    document, end = json.JSONDecoder().raw_decode(stdout)
    assert stdout[end:] == "\n", stdout
    return document


def holders(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every object of a document whose keys are fixed."""
    if isinstance(value, list):
        for entry in value:
            yield from holders(entry)
    elif isinstance(value, dict):
        yield value
        for key, entry in value.items():
            if key not in MAPS:
                yield from holders(entry)


def fits(name: str, document: Any) -> None:
    """Check a document, and that the same with a key more or a key less anywhere would not pass."""
    validator = Draft202012Validator(SCHEMAS[name])
    validator.validate(document)
    assert document["schema"] == f"resguardo/{name}/1"
    for place in holders(document):
        kind = (name, frozenset(place))
        if kind in CLOSED:  # proved once for each kind of object: it takes a while
            continue
        CLOSED.add(kind)
        place["unheard_of"] = 1
        assert not validator.is_valid(document), f"an unknown key passes beside {sorted(place)}"
        del place["unheard_of"]
        for key in list(place):
            value = place.pop(key)
            assert not validator.is_valid(document), f"{key} is not missed beside {sorted(place)}"
            place[key] = value


def ask(site: Site, name: str, *args: str, code: int | None = 0, **env: str) -> Any:
    """Run a command with --json: its exit code, the only thing that it prints, and that this is document `name`."""
    done = site.run("--json", *args, code=code, **env)
    document = only_document(done.stdout)
    assert "Traceback" not in done.stderr
    fits(name, document)
    if name == "error":
        assert document["exit_code"] == code
        assert document["error"].split("\n")[0] in done.stderr
    return document


def ask_all(site: Site, *asked: tuple[str, str], code: int = 0) -> list[Any]:
    """Run commands that change nothing side by side: (document, command line)."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda each: ask(site, each[0], *shlex.split(each[1]), code=code), asked))


def refused(site: Site, code: int, *lines: str) -> list[str]:
    """Run commands side by side, which must all end with `code` and document `error`; return what they say."""
    return [told["error"] for told in ask_all(site, *(("error", line) for line in lines), code=code)]


def test_a_site_that_is_well(site: Site) -> None:
    assert [made["result"] for made in ask(site, "init", "init")["repositories"]] == ["exists"]
    listed, *_ = ask_all(site, ("list", "list"), ("plan", "plan"), ("plan", "backup --dry-run"))
    assert listed["restore_points"] == []
    assert ask(site, "status", "status", code=1)["status"]["last_run"] is None
    assert ask(site, "backup", "backup")["services"][0]["bytes"] > 0
    point = ask(site, "list", "list")["restore_points"][0]["id"]
    back = f"restore shop --latest --to {shlex.quote(str(site.root / 'back'))}"
    planned, files, decided, simulated, status, examined = ask_all(
        site,
        ("restore-plan", f"{back} --dry-run"),
        ("show-files", f"show {point} --files"),
        ("prune-plan", "prune --dry-run"),
        ("prune-simulate", "prune --simulate 10d"),
        ("status", "status"),
        ("doctor", "doctor"),
    )
    assert len(planned["plan"]["steps"]) == 2
    assert set(files["files"]) == {"policy.yml", "services.yml"}
    assert [kept["point"]["id"] for kept in decided["repositories"][0]["series"][0]["keep"]] == [point]
    assert simulated["series"][0]["simulation"]["kept"]
    assert status["status"]["last_run"]["result"] == "success"
    assert {found["subject"] for found in examined["findings"]} >= {"restic", "shop/main"}
    for state, code in (("restored", 0), ("failed", 1)):  # the second time it is in the way
        done = ask(site, "restore", *shlex.split(back), code=code)
        assert [item["state"] for item in done["items"]] == [state, state]
    assert ask(site, "show", "show", point)["restore_point"]["state"] == "restored"
    assert ask(site, "verify", "verify", "--quick")["result"] == "success"
    assert ask(site, "verify", "verify", "--point", "nothing", code=1)["result"] == "failed"  # a run had begun
    assert ask(site, "prune", "prune")["forgotten"] == []
    assert ask(site, "recover", "recover")["dead_runs"] == []
    assert ask(site, "catalog-rebuild", "catalog", "rebuild")["added"] == []
    site.services(SERVICES.replace("shop:", "store:"))
    levels = [found["level"] for found in ask(site, "status", "status", code=1)["status"]["services"]]
    assert levels == ["none", "retired"]
    assert ask(site, "list", "list")["restore_points"][0]["retired"] is True


def test_a_site_that_is_not_well(site: Site) -> None:
    ask(site, "backup", "backup")
    assert site.run("--json", "backup", code=-signal.SIGKILL, RESGUARDO_FAILPOINT="commit.started").stdout == ""
    assert len(ask(site, "recover", "recover")["dead_runs"]) == 1
    for file in (site.root / "data").glob("shop.db*"):
        file.unlink()
    (planned,) = ask(site, "plan", "plan", code=3)["plan"]["points"]
    assert [bool(source["trouble"]) for source in planned["sources"]] == [True, False]
    assert ask(site, "backup", "backup", code=3)["result"] == "partial"
    assert ask(site, "status", "status", code=None)["status"]["events"]
    lost = next(made["id"] for made in site.snapshots() if "part=paths" in made["tags"])
    (site.root / "repository" / "snapshots" / lost).unlink()
    for file in site.state.glob("catalog.db*"):
        file.unlink()
    assert ask(site, "catalog-rebuild", "catalog", "rebuild", code=3)["broken"]
    (site.root / "key").write_text("not the key\n")
    assert any(found["level"] == "error" for found in ask(site, "doctor", "doctor", code=1)["findings"])
    refused(site, 4, "prune --dry-run")
    assert ask(site, "backup", "backup", code=4)["result"] == "failed"


def test_what_needs_no_backup(site: Site) -> None:
    valid, failpoints, schema, schemas, tested = ask_all(
        site,
        ("validate", "validate"),
        ("failpoints", "doctor --failpoints"),
        ("schema", "schema policy"),
        ("schema", f"schema --write={shlex.quote(str(site.root))}"),
        ("notify-test", "notify test"),
    )
    assert valid["services"][0]["name"] == "shop"
    assert failpoints["failpoints"]
    assert (set(schema["schemas"]), schema["written"]) == ({"policy"}, [])
    assert (set(schemas["schemas"]), len(schemas["written"])) == ({"policy", "services"}, 2)
    assert tested["channels"] == []
    (site.root / "ops").touch(0o600)
    (site.root / "ops").write_text("json://127.0.0.1:9/\n")
    site.policy("notify: {channels: {ops: {url: {file: ops}}}}\n")
    (tried,) = ask(site, "notify-test", "notify", "test", code=1)["channels"]
    assert tried["channel"] == "ops"
    assert tried["error"]


def test_wrong_command_lines(site: Site) -> None:
    refused(
        site,
        2,
        "",
        "nonsense",
        "list --nonsense",
        "notify",
        "schema",
        "show",
        "restore shop",
        "backup --only nothing",
        "backup --job none",
        "backup --wait soon",
        "backup nobody",
        "prune --simulate soon",
        "restore shop --at soon --to /nowhere",
    )
    refused(site, 1, "show nothing", "restore shop --latest --to /nowhere")
    assert site.run("show", "--", "--json", code=1).stdout == ""  # after -- it is no option


def test_a_wrong_policy(site: Site) -> None:
    site.policy("nonsense: 1\n")
    assert ask(site, "validate", "validate", code=2)["problems"][0]["key"] == "nonsense"
    for said in refused(site, 2, "backup", "list"):
        assert "nonsense" in said
    (site.root / "policy.yml").unlink()
    assert ask(site, "validate", "validate", code=2)["problems"]
    refused(site, 2, "restore shop --latest --to /nowhere")


def test_a_busy_lock_and_a_signal_while_waiting(site: Site) -> None:
    path = site.state / "run.lock"
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused(site, 11, "backup", "prune", "catalog rebuild")
        argv = site.argv("--json", "backup", "--wait", "60")
        with subprocess.Popen(
            argv, env=site.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as waiting:
            while str(path) not in open_files(waiting.pid):
                assert waiting.poll() is None
            waiting.terminate()
            stdout, _ = waiting.communicate(timeout=30)
        assert waiting.returncode == 143
        fits("error", only_document(stdout))


def open_files(pid: int) -> list[str]:
    try:
        return [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:  # one was closed while we looked
        return []


def test_a_bug(site: Site) -> None:
    document = ask(site, "error", "backup", code=70, RESGUARDO_FAILPOINT="lock.taken:often")
    assert "ValueError" in document["error"]
    crash = document["error"].rpartition(" ")[2]
    assert "Traceback" in Path(crash).read_text(encoding="utf-8")
