"""Examples of profile `paper`: those that the published code of Kim et al. (arXiv:2409.16911) evaluates.

Its scripts shuffle the split with seed 0 and take the first 1,000. The library `datasets` shuffles with a permutation
of NumPy's default generator.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

N_PUBLISHED = 1000
"""Examples of one language that the published scripts evaluate."""
PUBLISHED_SEED = 0

Item = TypeVar("Item")


def published_examples(items: Sequence[Item], limit: int) -> tuple[Item, ...]:
    """Return the first `limit` items of the published order, in the order of `items`.

    Args:
        items: all items of a split, in the order of the file.
        limit: number of items to keep.
    """
    shuffled = np.random.default_rng(PUBLISHED_SEED).permutation(len(items))
    return tuple(items[index] for index in sorted(shuffled[:limit].tolist()))
