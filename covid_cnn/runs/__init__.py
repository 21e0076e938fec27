"""Training runs: their settings, their state and their events."""
