from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import threading

from orchestrator.report.progress import NoProgress, TerminalProgress, progress_for

SCRIPT = """
import threading
from orchestrator.report.progress import progress_for
shown = progress_for()
def move(name):
    shown.start(name, 100 << 20)
    for step in range(50):
        shown.update(name, step << 20)
    shown.finish(name, "taken")
movers = [threading.Thread(target=move, args=(f"hub/s{n}[bold]\\x1b[2J",)) for n in range(4)]
[mover.start() for mover in movers]
[mover.join() for mover in movers]
shown.start("hub/again"); shown.start("hub/again", 5); shown.finish("hub/again", "failed"); shown.finish("unknown", "x")
"""


def test_nothing_without_a_terminal() -> None:
    assert isinstance(progress_for(), NoProgress)
    assert isinstance(progress_for(quiet=True), NoProgress)


INTERRUPTED = """
from orchestrator.report.progress import progress_for
shown = progress_for()
shown.start("hub/one", 100)
shown.close()
shown.close()
print(bytes([27]).decode() + "]over", file=__import__("sys").stderr, flush=True)
"""


def test_closing_gives_the_terminal_back() -> None:
    text = _on_terminal(INTERRUPTED)
    assert text.rindex("\x1b[?25l") < text.rindex("\x1b[?25h") < text.index("\x1b]over")


def test_sources_move_side_by_side_on_a_terminal() -> None:
    text = _on_terminal(SCRIPT)
    assert "\x1b[2J" not in text
    assert all(f"hub/s{n}[bold]\\x1b[2J  taken" in text for n in range(4))
    assert "hub/again  failed" in text


def _on_terminal(script: str) -> str:
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    env = {"PATH": os.environ["PATH"], "TERM": "xterm", "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", script], stderr=follower, env=env) as child:
        os.close(follower)
        said = bytearray()
        reader = threading.Thread(target=lambda: _drain(leader, said))
        reader.start()
        assert child.wait(60) == 0
        reader.join(30)
    os.close(leader)
    return said.decode()


def _drain(leader: int, said: bytearray) -> None:
    try:
        while block := os.read(leader, 4096):
            said += block
    except OSError:
        return  # the other end is closed


def test_updates_of_unknown_sources_are_nothing() -> None:
    shown = TerminalProgress()
    shown.update("x", 1)
    shown.finish("x", "taken")
