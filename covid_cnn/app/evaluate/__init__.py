"""The Evaluate page: a model at home and away."""
