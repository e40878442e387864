"""Use cases: probe, plan, execute, record."""
