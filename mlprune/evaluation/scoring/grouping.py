"""Costs and bounds that decide how texts form batches and groups, for each kind of device.

They are part of what determines a result: a batch of another shape can differ in the last bits. Ids contain the kind
of device, so these constants change only together with ids.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from mlprune.vocabulary import DeviceName

KEYS_PER_TOKEN = 8
"""Most tokens to which the rows of a group attend, per token of `batch_tokens`."""


@dataclass(frozen=True)
class Grouping:
    """Costs in tokens: the padding that may be computed to save one group or batch."""

    group_cost: int
    """Cost of one more group: every block launches its operations, and small products are slow."""
    batch_cost: int
    """Cost of one more batch: all weights are read again."""
    max_group_tokens: int
    """Most tokens of a group, so that its activations stay small."""
    max_group_keys: int
    """Most tokens to which the rows of a group attend, including themselves: each row has its own keys and values."""

    def max_keys(self, batch_tokens: int) -> int:
        """Return the most tokens to which the rows of a group attend in batches of some size."""
        return min(self.max_group_keys, KEYS_PER_TOKEN * batch_tokens)


GROUPINGS: Mapping[DeviceName, Grouping] = {
    "cpu": Grouping(group_cost=48, batch_cost=256, max_group_tokens=1024, max_group_keys=8192),
    "cuda": Grouping(group_cost=128, batch_cost=512, max_group_tokens=4096, max_group_keys=65_536),
}
"""Kind of device -> its constants."""
