"""How good a model is: predictions, metrics, calibration, leakage, external validation."""
