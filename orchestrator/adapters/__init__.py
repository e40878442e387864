"""The outside world: processes, restic, the catalog, notifications, locks, secrets."""
