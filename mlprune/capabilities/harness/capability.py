"""Standards of evaluation: tasks of lm-evaluation-harness, its results, and results for every_eval_ever and the hub."""

from mlprune.capabilities.capability import Capability

CAPABILITY = Capability("harness")
