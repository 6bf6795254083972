"""Statistical inference: intervals, tests, corrections, power and variance components."""
