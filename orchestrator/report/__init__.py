"""Records as text, JSON and notification bodies."""
