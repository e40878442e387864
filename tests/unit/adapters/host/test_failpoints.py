from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import orchestrator
from orchestrator.model.errors import Bug
from orchestrator.model.failpoints import FAILPOINTS, reach

PACKAGE = Path(orchestrator.__file__).parent
SCRIPT = """
import sys
from orchestrator.model.failpoints import reach
for number in range(5):
    reach("lock.taken")
    print(number, flush=True)
"""


def test_nothing_happens_without_the_variable() -> None:
    for name in FAILPOINTS:
        reach(name)


def test_an_undeclared_name_is_a_bug() -> None:
    with pytest.raises(Bug, match=r"failpoint 'no\.such' is not declared"):
        reach("no.such")


@pytest.mark.parametrize(("wanted", "printed"), [("lock.taken", ""), ("lock.taken:3", "0\n1\n")])
def test_it_dies_there(tmp_path: Path, wanted: str, printed: str) -> None:
    witness = tmp_path / "witness"
    env = {"RESGUARDO_FAILPOINT": wanted, "RESGUARDO_FAILPOINT_FILE": str(witness)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, cwd=PACKAGE.parent, check=False
    )
    assert (done.returncode, done.stdout, witness.read_text()) == (-signal.SIGKILL, printed, "lock.taken\n")


def test_every_name_is_used_once_and_described() -> None:
    sources = "".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    used = re.findall(r'\b(?:reach|_?streaming\.commit)\("([^"]+)"\)', sources)
    assert set(used) == set(FAILPOINTS)
    assert len(FAILPOINTS) >= 24
    assert all(FAILPOINTS.values())
