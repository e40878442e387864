"""Tools inside containers, through the Docker Engine.

daemon.py the Engine by its SDK · gate.py what waits inside until we are ready, and secrets · frames.py the Engine's
stream format · opening.py, starting.py the start of a tool · proc.py a running tool · watch.py whether its container
stays · output.py where its output goes · inside.py looking into a container's files · ways.py paths to its sockets ·
executor.py the port `Executor`
"""

from orchestrator.adapters.container.daemon import Daemon
from orchestrator.adapters.container.executor import ContainerExecutor

__all__ = ["ContainerExecutor", "Daemon"]
