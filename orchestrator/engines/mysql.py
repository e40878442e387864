"""The engine `mysql`."""

from __future__ import annotations

from orchestrator.engines._mysql.engine import MysqlEngine

ENGINE = MysqlEngine("mysql")
