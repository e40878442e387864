"""What the process does with its environment before anything else."""

from __future__ import annotations

import json
import os
import subprocess
import sys

CODE = """
import json, os, sys
from orchestrator.__main__ import main
sys.argv = ["resguardo", "--version"]
try:
    main()
except SystemExit:
    pass
from psycopg import pq
from psycopg._conninfo_utils import get_param
found = {each.keyword.decode(): (each.val or b"").decode() for each in pq.Conninfo.get_defaults()}
print(json.dumps([found, os.environ["PGPASSWORD"], get_param({}, "hostaddr")]))
"""


def test_postgresql_is_reached_as_services_yml_says_alone() -> None:
    given = {"PGPASSWORD": "from the shell", "PGHOST": "elsewhere", "PGHOSTADDR": "192.0.2.1", "PGOPTIONS": "-c x=1"}
    ran = subprocess.run(
        [sys.executable, "-c", CODE],
        env={"PATH": os.environ["PATH"], **given},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found, kept, address = json.loads(ran.stdout.splitlines()[-1])
    assert not {"from the shell", "elsewhere", "192.0.2.1", "-c x=1"} & set(found.values())
    assert found["port"] == "5432"
    assert (kept, address) == ("from the shell", None)  # `{env: PGPASSWORD}` still finds it
