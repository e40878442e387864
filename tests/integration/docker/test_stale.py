"""What killed test processes left of their Engines goes; what a living one holds stays."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from tests.engines.servers import docker


@pytest.mark.skipif(os.geteuid() != 0, reason="impossible here: network interfaces need root")
def test_stale_folders_and_their_bridges_go() -> None:
    stale, held = (Path(tempfile.mkdtemp(prefix="resguardo-docker-", dir="/tmp")) for _ in range(2))
    bridge = f"resg-{stale.name.rpartition('-')[2]}"
    subprocess.run(["ip", "link", "add", bridge, "type", "bridge"], check=True, timeout=20)
    alive = docker._locked(held)
    for folder in (stale, held):
        os.utime(folder, (0, time.time() - 100))
    docker.remove_stale()
    assert held.exists()
    assert not stale.exists()
    assert not Path("/sys/class/net", bridge).exists()
    os.close(alive)
    held.rmdir()
