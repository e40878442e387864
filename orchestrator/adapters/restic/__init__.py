"""The only code that runs restic: one repository as a port, its exit codes as errors, its locks examined."""

from orchestrator.adapters.restic.repository import ResticRepository
from orchestrator.adapters.restic.settings import Settings
from orchestrator.adapters.restic.settling import settle_locks

__all__ = ["ResticRepository", "Settings", "settle_locks"]
