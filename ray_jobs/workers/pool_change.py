"""Changes of the number of workers during a run. Does not use Ray."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PoolChange:
    """A change of the number of replicas during a run."""

    n_replicas: int
    """Number of replicas after the change, those that wait for a node included."""
    reason: str
    changed_at: str
    """UTC, ISO 8601."""
