"""Every kind of mistake in the two files: its place, its text and its hint."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.model.errors import PolicyInvalid
from orchestrator.policy import load
from orchestrator.policy.validation import MOST_PROBLEMS
from tests.unit.policy.files import OPTIONS, POLICY, SERVICES, refused, write

SECRET_HINT = "write {file: PATH}, {env: NAME} or {command: [PROGRAM, ARGUMENT]}"
DURATION_HINT = "write a number with its unit: 90s, 5m, 26h, 7d or 1h30m"
PASSWORD = "password: {file: var/repository.key}"


def _policy(old: str, new: str) -> str:
    assert old in POLICY
    return POLICY.replace(old, new)


@pytest.mark.parametrize(
    ("policy", "problem"),
    [
        (_policy("version: 1\n", ""), "policy.yml:1:1: version: required key is missing\nHINT: add version: 1"),
        (_policy("version: 1", "version: 2"), "policy.yml:1:1: version: expected 1, found 2"),
        (
            _policy("host: hub-01", "host: hub 01"),
            (
                "policy.yml:2:1: host: not a host name: 'hub 01'\n"
                "HINT: use letters, digits, dots, dashes and underscores, such as hub-01; numbers need quotes"
            ),
        ),
        (POLICY + "paralel: 3\n", "policy.yml:10:1: paralel: unknown key\nHINT: did you mean 'parallel'?"),
        (
            POLICY + "zzz: 3\n",
            (
                "policy.yml:10:1: zzz: unknown key\nHINT: known keys: check, health, host, jobs, logs, notify, "
                "parallel, "
                "repositories, restic, retention, services_file, staging, tidy, timeout, timezone, version"
            ),
        ),
        (POLICY + "parallel: 17\n", "policy.yml:10:1: parallel: must be at most 16, found 17"),
        (POLICY + "parallel: 0\n", "policy.yml:10:1: parallel: must be at least 1, found 0"),
        (
            POLICY + "parallel: '2'\n",
            "policy.yml:10:1: parallel: expected a whole number, found text\nHINT: write it without quotes",
        ),
        (POLICY + "parallel: true\n", "policy.yml:10:1: parallel: expected a whole number, found true"),
        (POLICY + "parallel:\n", "policy.yml:10:1: parallel: expected a whole number, found nothing"),
        (POLICY + "timeout: 30\n", f"policy.yml:10:1: timeout: not a duration: 30\nHINT: {DURATION_HINT}"),
        (
            POLICY + "timezone: Mars/Base\n",
            (
                "policy.yml:10:1: timezone: not a time zone that this machine knows: 'Mars/Base'\n"
                "HINT: write a name such as Europe/Madrid; if that is what it says, install the package tzdata"
            ),
        ),
        (
            POLICY + "timezone: ../../etc/passwd\n",
            (
                "policy.yml:10:1: timezone: not a time zone that this machine knows: '../../etc/passwd'\n"
                "HINT: write a name such as Europe/Madrid; if that is what it says, install the package tzdata"
            ),
        ),
        (POLICY + "health: 3\n", "policy.yml:10:1: health: expected a mapping (key: value), found a number"),
        (
            _policy(PASSWORD, "password: hunter2"),
            (
                "policy.yml:6:5: repositories.local.password: expected a reference to a secret, not the secret itself\n"
                f"HINT: {SECRET_HINT}"
            ),
        ),
        (
            _policy(PASSWORD, "password: {file: a, env: B}"),
            (
                "policy.yml:6:5: repositories.local.password: expected exactly one of file, env and command, "
                f"found file and env\nHINT: {SECRET_HINT}"
            ),
        ),
        (
            _policy(PASSWORD, "password: {}"),
            (
                "policy.yml:6:5: repositories.local.password: expected exactly one of file, env "
                "and command, found none\n"
                f"HINT: {SECRET_HINT}"
            ),
        ),
        (
            _policy(PASSWORD, "password: {flie: a}"),
            "policy.yml:6:16: repositories.local.password.flie: unknown key\nHINT: did you mean 'file'?",
        ),
        (
            _policy(PASSWORD, "password: {env: 'hunter 2'}"),
            (
                "policy.yml:6:16: repositories.local.password.env: not the name of an environment variable\n"
                "HINT: names have letters, digits and _, and no digit first"
            ),
        ),
        (
            _policy(PASSWORD, 'password: {command: "pass \'x"}'),
            (
                "policy.yml:6:16: repositories.local.password.command: cannot be split into "
                "words: no closing quotation\n"
                "HINT: write it as a list of words"
            ),
        ),
        (
            _policy(PASSWORD, "password: {command: []}"),
            "policy.yml:6:16: repositories.local.password.command: an empty command\nHINT: write [PROGRAM, ARGUMENT]",
        ),
        (
            _policy(PASSWORD, "password: {file: ~/key}"),
            (
                "policy.yml:6:16: repositories.local.password.file: `~` is not expanded in a path: '~/key'\n"
                "HINT: write the whole path, or ${HOME}/…"
            ),
        ),
        (
            _policy(f"    {PASSWORD}\n", ""),
            (
                "policy.yml:4:3: repositories.local.password: required key is missing\n"
                "HINT: add where the password is, such as password: {file: var/repository.key}"
            ),
        ),
        (
            _policy("url: var/repository", "url: https://x/y"),
            (
                "policy.yml:5:5: repositories.local.url: not a kind of repository that restic knows: 'https'\n"
                "HINT: a REST server is written rest:https://…, an S3 service s3:https://…"
            ),
        ),
        (
            _policy("url: var/repository", "url: stfp:u@h:/x"),
            (
                "policy.yml:5:5: repositories.local.url: not a kind of repository that restic knows: 'stfp'\n"
                "HINT: did you mean 'sftp'?"
            ),
        ),
        (
            _policy("url: var/repository", "url: rest:https://u:hunter2@x/"),
            (
                "policy.yml:5:5: repositories.local.url: a password in plain text\n"
                "HINT: use env, such as RESTIC_REST_PASSWORD: {file: PATH}, or ${NAME} in the URL"
            ),
        ),
        (
            _policy(PASSWORD, PASSWORD + "\n    env: {AWS_SECRET_ACCESS_KEY: hunter2}"),
            (
                "policy.yml:7:5: repositories.local.env: AWS_SECRET_ACCESS_KEY looks like a secret in plain text\n"
                "HINT: write AWS_SECRET_ACCESS_KEY: {file: PATH} or {env: NAME}"
            ),
        ),
        (
            _policy(PASSWORD, PASSWORD + "\n    env: {RESTIC_PASSWORD: {env: X}}"),
            (
                "policy.yml:7:5: repositories.local.env: RESTIC_PASSWORD is set by resguardo itself\n"
                "HINT: use the keys url and password, and the block restic"
            ),
        ),
        (
            _policy(PASSWORD, PASSWORD + "\n    options: {connections: 5}"),
            (
                "policy.yml:7:5: repositories.local.options: not an option of restic: 'connections'\n"
                "HINT: options look like s3.connections or sftp.args"
            ),
        ),
        (
            _policy(PASSWORD, PASSWORD + "\n    copy_from: other"),
            "policy.yml:7:5: repositories.local.copy_from: not available in this version\nHINT: remove it for now",
        ),
        (
            _policy("retention:", "  second: {url: x, password: {env: X}}\nretention:"),
            (
                "policy.yml:7:3: repositories.second: more than one repository is not available in this version\n"
                "HINT: keep the first one for now"
            ),
        ),
        (
            _policy("  local:\n", "  Local Disk:\n"),
            (
                "policy.yml:4:3: repositories.Local Disk: not a valid name: 'Local Disk'\n"
                "HINT: names have 1 to 48 of a-z 0-9 . _ - and a letter or digit first; for example 'local-disk'"
            ),
        ),
        (
            _policy("  cache: {within: 7d}", "  all: {within: 7d}"),
            "policy.yml:9:3: retention.all: the name 'all' is reserved\nHINT: choose another name",
        ),
        (
            _policy("  default: {last: 7, daily: 30}\n", ""),
            (
                "policy.yml:7:1: retention: the tier `default` is missing\n"
                "HINT: add default: {last: 7, daily: 30, monthly: 12}"
            ),
        ),
        (
            _policy("{within: 7d}", "{}"),
            (
                "policy.yml:9:3: retention.cache: a tier without any rule would forget everything\n"
                "HINT: add a rule such as last: 7 or daily: 30"
            ),
        ),
        (
            _policy("{within: 7d}", "{last: 0}"),
            (
                "policy.yml:9:11: retention.cache.last: not a number of restore points: 0\n"
                "HINT: write 1 or more, or unlimited; leave the key out for none"
            ),
        ),
        (
            _policy("{within: 7d}", "{last: true}"),
            (
                "policy.yml:9:11: retention.cache.last: not a number of restore points: True\n"
                "HINT: write 1 or more, or unlimited; leave the key out for none"
            ),
        ),
        (
            _policy("{within: 7d}", "{within: 1w}"),
            (
                "policy.yml:9:11: retention.cache.within: not a duration for retention: '1w'\n"
                "HINT: write years, months, days, hours in this order: 7d, 36h, 1y6m (m is months, a week is 7d)"
            ),
        ),
        (
            _policy("{within: 7d}", "{dayly: 7}"),
            "policy.yml:9:11: retention.cache.dayly: unknown key\nHINT: did you mean 'daily'?",
        ),
        (
            POLICY + "  guard: {max_forget: 30}\n",
            (
                "policy.yml:10:11: retention.guard.max_forget: not a percentage: 30\n"
                "HINT: write 0% to 100%, with the percent sign"
            ),
        ),
        (
            _policy(PASSWORD, PASSWORD + "\n    retention: {cahce: {last: 1}}"),
            "policy.yml:7:17: repositories.local.retention.cahce: no such tier: 'cahce'\nHINT: did you mean 'cache'?",
        ),
        (
            POLICY + 'jobs: {n: {at: "0 2 * *", do: backup}}\n',
            (
                "policy.yml:10:12: jobs.n.at: not a cron line: '0 2 * *' has 4 fields, not 5\n"
                'HINT: write five fields, minute hour day month weekday, such as "0 2 * * *" or "30 4 * * sun"'
            ),
        ),
        (
            POLICY + 'jobs: {n: {at: "@dayly", do: backup}}\n',
            "policy.yml:10:12: jobs.n.at: unknown schedule '@dayly'\nHINT: did you mean '@daily'?",
        ),
        (
            POLICY + 'jobs: {n: {at: "@daily", do: bakup}}\n',
            (
                "policy.yml:10:26: jobs.n.do: expected 'backup', 'prune' or 'verify', found 'bakup'\n"
                "HINT: did you mean 'backup'?"
            ),
        ),
        (
            POLICY + 'jobs: {n: {at: "@daily", do: drill}}\n',
            "policy.yml:10:26: jobs.n.do: 'drill' is not available in this version\nHINT: remove it for now",
        ),
        (
            POLICY + 'jobs: {n: {at: "@daily", do: backup, services: [shopp]}}\n',
            "policy.yml:10:49: jobs.n.services[0]: no such service: 'shopp'\nHINT: did you mean 'shop'?",
        ),
        (
            POLICY + 'jobs: {n: {at: "@daily", do: prune, services: [shop]}}\n',
            (
                "policy.yml:10:37: jobs.n.services: a job that does prune works on whole repositories, not on single "
                "services\nHINT: remove services from this job"
            ),
        ),
        (
            POLICY + "notify: {rules: [{on: [faild], to: [ops]}], channels: {ops: {url: {env: X}}}}\n",
            "policy.yml:10:24: notify.rules[0].on[0]: not an event: 'faild'\nHINT: did you mean 'failed'?",
        ),
        (
            POLICY + "notify: {rules: [{on: [Everything], to: [ops]}], channels: {ops: {url: {env: X}}}}\n",
            (
                "policy.yml:10:24: notify.rules[0].on[0]: not an event: 'Everything'\n"
                "HINT: severities are success, partial, failed, warning, recovered; names such as run.failed "
                "or source.* are in the reference"
            ),
        ),
        (
            POLICY + "notify: {rules: [{on: [notify.dropped], to: [ops]}], channels: {ops: {url: {env: X}}}}\n",
            (
                "policy.yml:10:24: notify.rules[0].on[0]: notify.dropped is never sent\n"
                "HINT: it stands in the log only, as a channel that fails cannot tell of itself"
            ),
        ),
        (
            POLICY + "notify: {rules: [{on: [run.faild], to: [ops]}], channels: {ops: {url: {env: X}}}}\n",
            "policy.yml:10:24: notify.rules[0].on[0]: not an event: 'run.faild'\nHINT: did you mean 'run.failed'?",
        ),
        (
            POLICY + "notify: {rules: [{on: [failed], to: [opss]}], channels: {ops: {url: {env: X}}}}\n",
            "policy.yml:10:38: notify.rules[0].to[0]: no such channel: 'opss'\nHINT: did you mean 'ops'?",
        ),
        (
            POLICY + "notify: {rules: [{on: [failed], to: [ops]}]}\n",
            "policy.yml:10:38: notify.rules[0].to[0]: no such channel: 'ops'\nHINT: there is no channel yet",
        ),
        (
            POLICY + "notify: {rules: [{on: failed, to: [ops]}], channels: {ops: {url: {env: X}}}}\n",
            (
                "policy.yml:10:19: notify.rules[0].on: expected a list, found text\n"
                "HINT: write [a, b], or one `- entry` a line"
            ),
        ),
        (
            POLICY + "notify: {channels: {ops: {url: 'json://hunter2'}}}\n",
            (
                "policy.yml:10:27: notify.channels.ops.url: expected a reference to a secret, not the secret itself\n"
                f"HINT: {SECRET_HINT}"
            ),
        ),
        (
            POLICY + "staging: {max: 256M}\n",
            (
                "policy.yml:10:11: staging.max: not a size: '256M'\n"
                "HINT: write a number with its unit: 512KiB, 256MiB, 10GiB or 10GB"
            ),
        ),
        (
            POLICY + "restic: {compression: maximum}\n",
            (
                "policy.yml:10:10: restic.compression: expected 'auto', 'off', 'max', 'fastest' or 'better', "
                "found 'maximum'\nHINT: did you mean 'max'?"
            ),
        ),
        (POLICY + "restic: {nice: 20}\n", "policy.yml:10:10: restic.nice: must be at most 19, found 20"),
        (
            POLICY + "check: {data: 5}\n",
            (
                "policy.yml:10:9: check.data: not a share of the data: 5\n"
                "HINT: write a percentage such as 5%, a part such as 2/7, or all"
            ),
        ),
        (
            POLICY + "parallel: ${UNSET}\n",
            (
                "policy.yml:10:11: parallel: the environment variable UNSET is not set\n"
                "HINT: set it, or give a default: ${UNSET:-value}"
            ),
        ),
        ("- a\n", "policy.yml:1:1: expected a mapping (key: value), found a list"),
        ("just text\n", "policy.yml:1:1: expected a mapping (key: value), found text"),
    ],
)
def test_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: str, problem: str) -> None:
    assert refused(tmp_path, monkeypatch, policy) == [problem]


def _services(entry: str) -> str:
    return f"services:\n  shop:\n    databases:\n      main: {entry}\n"


@pytest.mark.parametrize(
    ("services", "problem"),
    [
        ("services: {}\n", "services.yml:1:1: services: must not be empty"),
        (
            "service: {}\nservices: {s: {paths: [x]}}\n",
            "services.yml:1:1: service: unknown key\nHINT: did you mean 'services'?",
        ),
        (
            "services: {shop: }\n",
            "services.yml:1:12: services.shop: expected a mapping (key: value), found nothing",
        ),
        (
            "services: {shop: {}}\n",
            "services.yml:1:12: services.shop: the service holds nothing\nHINT: add databases or paths",
        ),
        (
            "services: {shop: {database: {}}}\n",
            "services.yml:1:19: services.shop.database: unknown key\nHINT: did you mean 'databases'?",
        ),
        (
            "services: {s: {exclude: [x], databases: {m: {engine: book, path: x}}}}\n",
            (
                "services.yml:1:16: services.s.exclude: exclude does nothing without paths\n"
                "HINT: add paths, or remove exclude"
            ),
        ),
        (
            "services: {'a,b': {paths: [x]}}\n",
            (
                "services.yml:1:12: services.a,b: not a valid name: 'a,b'\n"
                "HINT: names have 1 to 48 of a-z 0-9 . _ - and a letter or digit first; for example 'a-b'"
            ),
        ),
        (
            'services: {"a\\nb": {paths: [x]}}\n',
            (
                "services.yml:1:12: services.a\\nb: not a valid name: 'a\\nb'\n"
                "HINT: names have 1 to 48 of a-z 0-9 . _ - and a letter or digit first; for example 'a-b'"
            ),
        ),
        (
            "services: {s: {paths: [x], tier: chache}}\n",
            "services.yml:1:28: services.s.tier: no such tier: 'chache'\nHINT: did you mean 'cache'?",
        ),
        (
            "services: {s: {paths: [x], enabled: no}}\n",
            (
                "services.yml:1:28: services.s.enabled: expected true or false, found text\n"
                "HINT: yes, no, on and off are plain text: write true or false"
            ),
        ),
        (
            "services: {s: {paths: x}}\n",
            (
                "services.yml:1:16: services.s.paths: expected a list, found text\n"
                "HINT: write [a, b], or one `- entry` a line"
            ),
        ),
        (
            "services: {s: {paths: [x, 5]}}\n",
            "services.yml:1:27: services.s.paths[1]: expected a path, found 5\nHINT: put it in quotes if it is a path",
        ),
        (
            "services: {s: {paths: [x], exclude_larger_than: 5MiB}}\n",
            ("services.yml:1:28: services.s.exclude_larger_than: unknown key\nHINT: did you mean 'exclude_caches'?"),
        ),
        *(
            (
                f"services: {{s: {{paths: [x], {key}: {{}}}}}}\n",
                f"services.yml:1:28: services.s.{key}: not available in this version\nHINT: remove it for now",
            )
            for key in ("quiesce", "depends_on", "drill", "volumes")
        ),
        (
            _services("{path: x}"),
            (
                "services.yml:4:7: services.shop.databases.main.engine: required key is missing\n"
                "HINT: say which kind of database it is, such as engine: sqlite"
            ),
        ),
        (
            _services("{engine: bok, path: x}"),
            (
                "services.yml:4:14: services.shop.databases.main.engine: unknown engine: 'bok'\n"
                "HINT: did you mean 'book'? known engines: book, shelf"
            ),
        ),
        (
            _services("{engine: oracle, path: x}"),
            (
                "services.yml:4:14: services.shop.databases.main.engine: unknown engine: 'oracle'\n"
                "HINT: known engines: book, shelf"
            ),
        ),
        (
            _services("{engine: book, path: x, container: c}"),
            ("services.yml:4:37: services.shop.databases.main.container: unknown key\nHINT: did you mean 'tier'?"),
        ),
        (
            _services("{engine: book, path: x, pagse: 3}"),
            "services.yml:4:37: services.shop.databases.main.pagse: unknown key\nHINT: did you mean 'pages'?",
        ),
        (
            _services("{engine: book, path: x, timeot: 3s}"),
            "services.yml:4:37: services.shop.databases.main.timeot: unknown key\nHINT: did you mean 'timeout'?",
        ),
        (
            _services("{engine: book, path: x, pages: 0}"),
            "services.yml:4:37: services.shop.databases.main.pages: must be at least 1, found 0",
        ),
        (
            _services("{engine: book, path: x, check: on}"),
            (
                "services.yml:4:37: services.shop.databases.main.check: expected true or false, found 'on'\n"
                "HINT: write true or false"
            ),
        ),
        (
            _services("{engine: book, path: x, password: hunter2}"),
            (
                "services.yml:4:37: services.shop.databases.main.password: expected a reference to a secret, "
                f"not the secret itself\nHINT: {SECRET_HINT}"
            ),
        ),
        (
            _services("{engine: book}"),
            "services.yml:4:7: services.shop.databases.main.path: required key is missing",
        ),
        (
            _services("{engine: shelf, low: 3}"),
            "services.yml:4:7: services.shop.databases.main: low is above high\nHINT: swap them",
        ),
        (
            _services("{engine: book, path: x, tier: gold}"),
            (
                "services.yml:4:37: services.shop.databases.main.tier: no such tier: 'gold'\n"
                "HINT: known tiers: cache, default"
            ),
        ),
        (
            _services("{engine: files, paths: [x]}"),
            (
                "services.yml:4:14: services.shop.databases.main.engine: files are listed under the service's `paths`\n"
                "HINT: remove it from databases"
            ),
        ),
        (
            "services: {s: {databases: {files: {engine: book, path: x}}}}\n",
            "services.yml:1:28: services.s.databases.files: the name 'files' is reserved\nHINT: choose another name",
        ),
        (
            "services: {s: {databases: {volume.x: {engine: book, path: x}}}}\n",
            (
                "services.yml:1:28: services.s.databases.volume.x: names that begin with "
                "'volume.' are kept for volumes\n"
                "HINT: choose another name"
            ),
        ),
    ],
)
def test_services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, services: str, problem: str) -> None:
    assert refused(tmp_path, monkeypatch, services=services) == [problem]


def test_another_name_for_the_server_of_an_engine(tmp_path: Path) -> None:
    path = write(tmp_path, POLICY, SERVICES.replace("engine: book", "engine: Valkey"))
    with pytest.raises(PolicyInvalid) as caught:
        load(path, {"files": OPTIONS["files"], "redis": OPTIONS["book"]}, {})
    assert "HINT: write engine: redis" in str(caught.value)


def test_all_of_both_files_at_once_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = POLICY.replace("host: hub-01", "host: ''") + "paralel: 1\ntimeout: 3\nparallel: 0\n"
    services = SERVICES.replace("engine: book", "engine: bok") + "    tier: gold\n    enabled: yes\n"
    places = [problem.split(": ")[:2] for problem in refused(tmp_path, monkeypatch, policy, services)]
    assert places == [
        ["policy.yml:2:1", "host"],
        ["policy.yml:10:1", "paralel"],
        ["policy.yml:11:1", "timeout"],
        ["policy.yml:12:1", "parallel"],
        ["services.yml:4:14", "services.shop.databases.main.engine"],
        ["services.yml:6:5", "services.shop.tier"],
        ["services.yml:7:5", "services.shop.enabled"],
    ]


def test_broken_yaml_in_one_file_does_not_hide_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problems = refused(tmp_path, monkeypatch, "a: b: c\n", "services: {s: {}}\n")
    assert [problem.splitlines()[0] for problem in problems] == [
        "policy.yml:1:5: not valid YAML: mapping values are not allowed in this context",
        "services.yml:1:12: services.s: the service holds nothing",
    ]


def test_missing_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (problem,) = refused(tmp_path, monkeypatch, services=None)
    assert problem.startswith("services.yml:1:1: no such file\nHINT: restore it, or say in policy.yml's services_file")
    (problem,) = refused(tmp_path, monkeypatch, POLICY + "services_file: sub/my.yml\n", services=None)
    hint = "HINT: correct policy.yml's services_file, or restore the file"
    assert problem == f"{tmp_path}/sub/my.yml:1:1: no such file\n{hint}"


def test_in_the_wrong_folder_the_way_to_the_policy_comes_first_and_services_are_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PolicyInvalid) as caught:
        load("policy.yml", OPTIONS, {})
    (problem,) = caught.value.problems
    assert (problem.file, problem.message) == ("policy.yml", "no such file")
    assert (problem.hint or "").startswith("name yours with -c POLICY or in RESGUARDO_POLICY")


def test_messages_name_the_files_as_the_user_did(tmp_path: Path) -> None:
    path = write(tmp_path, "a\n", "b\n")
    with pytest.raises(PolicyInvalid) as caught:
        load(path, OPTIONS, {})
    assert [problem.file for problem in caught.value.problems] == [path, str(tmp_path / "services.yml")]


def test_a_key_that_holds_a_bad_variable_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (problem,) = refused(tmp_path, monkeypatch, POLICY.replace("host: hub-01", "host: ${NO}"))
    assert problem.splitlines()[0] == "policy.yml:2:7: host: the environment variable NO is not set"


def test_thousands_of_problems_are_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = POLICY + "".join(f"zz{number}: 1\n" for number in range(3000))
    problems = refused(tmp_path, monkeypatch, policy)
    assert len(problems) == MOST_PROBLEMS + 1
    assert problems[-1] == "policy.yml:209:2: and 2800 more problems from here on"


def test_a_huge_wrong_file_is_told_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    services = "services:\n" + "".join(f"  s{number}: {{paths: [x]}}\n" for number in range(10_000))
    names = ", ".join(f"x{number}" for number in range(50_000))
    policy = f"{POLICY}jobs: {{a: {{at: '@daily', do: backup, services: [{names}]}}}}\n"
    assert len(refused(tmp_path, monkeypatch, policy, services)) == MOST_PROBLEMS + 1


def test_no_secret_is_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = POLICY.replace(PASSWORD, "password: {env: 'canary 1', file: 7}\n    env: {A_TOKEN: canary2, B: [canary3]}")
    policy = policy.replace("url: var/repository", "url: rest:https://u:canary4@h/")
    policy += "notify: {channels: {ops: {url: canary5}, b: {url: [canary6]}, c: {url: {command: {canary7: 1}}}}}\n"
    services = SERVICES.replace("path: shop.db", "path: shop.db, password: canary8")
    text = "\n".join(refused(tmp_path, monkeypatch, policy, services))
    assert text.count("policy.yml:") >= 6
    assert "canary" not in text.replace("canary7: unknown", "")
