"""Model bundles: load, check, predict, explain, question."""
