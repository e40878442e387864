"""The catalog: the local history in one SQLite file. It mirrors repositories and is never the truth about them."""

from orchestrator.adapters.catalog.catalog import SqliteCatalog
from orchestrator.adapters.catalog.database import set_aside

__all__ = ["SqliteCatalog", "set_aside"]
