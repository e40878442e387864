"""docs/reference/events.md and exit-codes.md: what can happen, and what a script sees of it."""

from __future__ import annotations

import re

from orchestrator.model import errors
from orchestrator.model.events import EVENTS
from orchestrator.policy.policy_file import SEVERITIES

EVENTS_HEAD = """# Events

This page is written by `scripts/reference` from the program's own table; a test fails when it is old.

Every event stands in the log and in the [catalog](catalog.md), where `resguardo status` looks. Rules in
[policy.yml](policy.md#notifyrules) say which of them go to which channels:

```yaml
notify:
  channels:
    ops: {url: {env: APPRISE_OPS_URL}}
    disk: {url: {file: /etc/resguardo/disk.url}}
  rules:
    - {on: [failed, partial, recovered], to: [ops]}    # by severity
    - {on: [disk.low, "retention.*"], to: [disk]}      # by name, or all of one noun
```

`on` takes severities, names, and a noun with `.*`; it need not be quoted but for the star. A channel gets one message
for a run, whatever number of its events match: the run's report and those events. Its severity is the worst of them. A
message that cannot be delivered waits in the outbox and is tried again with the next run, 20 times or 7 days long.
`resguardo notify test` sends a test to every channel.

A backup that is not whole (exit code 3) has the severity `partial`, not `failed`: a rule for failures names both, as
the starter's does. What is marked as log only is never matched by a rule.
"""
CODES_HEAD = """# Exit codes

This page is written by `scripts/reference` from the program's own table; a test fails when it is old.

Every command ends with one of these. When several things went wrong in one run, the worst wins, in this order:
70, 130 and 143, 2, 4, 11, 1, 3, 0. With `--json` the document says `exit_code` too.
"""
CODES = {
    "0": "done; also when nothing was due, and when everything stands well (`status`)",
    "1": "failed; refused by retention's guard; damaged; no such restore point; `status`: something asks for action",
    "2": "the policy or the command line is wrong; nothing was done",
    "3": "finished, but some sources failed or are partial; what was taken is committed",
    "4": "something must be mended first: a tool, the repository, a password, a server, a disk, rights",
    "11": "busy: another run, or a lock in the repository; try again later",
    "70": "a bug; its traceback was written to a file, which is named",
    "130, 143": "interrupted by SIGINT, or by SIGTERM, SIGHUP or SIGQUIT; what was under way was undone",
}
CODES_END = """
A *partial* restore point is committed and listed, but marked: the files that could not be read are named, a source that
failed says why, and `status` is not green. Retention does not count it as a backup.

## Errors by code

The text of an error says what failed and where, and a line `HINT:` below it what to do.

| When | Code |
|---|---|
"""
_LINE = re.compile(r"[│├└─ ]*\w+\s+(\d[\d/]*)  (.+)")


def events_page() -> str:
    """Return events.md."""
    severities = ", ".join(f"`{name}`" for name in SEVERITIES)
    rows = [
        f"| `{name}` | {kind.severity} | {kind.meaning}{'' if kind.told else ' Log only.'} |"
        for name, kind in EVENTS.items()
    ]
    about = f"## Names\n\nSeverities that a rule may name: {severities}. `info` goes to the log only.\n"
    return "\n".join([EVENTS_HEAD, about, "| Event | Severity | When |", "|---|---|---|", *rows, ""])


def codes_page() -> str:
    """Return exit-codes.md. Raises SystemExit when a code of the program's has no row."""
    said = {int(code) for codes in CODES for code in codes.split(",")}
    known = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    if said != known:
        raise SystemExit(f"exit codes: the page has {sorted(said)}, the program {sorted(known)}")
    table = ["| Code | Meaning |", "|---|---|", *(f"| {code} | {text} |" for code, text in CODES.items())]
    found = [match for line in (errors.__doc__ or "").splitlines() if (match := _LINE.fullmatch(line))]
    rows = [f"| {match[2]} | {match[1]} |" for match in found]
    return "\n".join([CODES_HEAD, *table, CODES_END.rstrip("\n"), *rows, ""])
