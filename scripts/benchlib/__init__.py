"""What scripts/bench measures with; standard library only, so that it runs before anything is installed."""
