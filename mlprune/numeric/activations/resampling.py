"""Bootstrap of demonstrations: how often each one counts."""

import hashlib

import torch
from torch import Tensor

from mlprune.errors import BadInputError


def bootstrap_weights(n: int, seed: int) -> Tensor:
    """Return how often each of n demonstrations is drawn when n are drawn with replacement.

    Draw i is demonstration SHA-256("seed:i") mod n, with the digest as a big-endian number. The draws do not depend on
    platforms or library versions, and are equal for all sets of one size, so that such sets are resampled together.

    Args:
        n: number of demonstrations, >= 1.
        seed: any integer.
    Returns: [n], float64, whole numbers that sum to n.
    Raises:
        BadInputError: n is below 1.
    """
    if n < 1:
        raise BadInputError("there is nothing to resample", expected="n >= 1", got=n)
    counts = [0] * n
    for draw in range(n):
        counts[int.from_bytes(hashlib.sha256(f"{seed}:{draw}".encode()).digest(), "big") % n] += 1
    return torch.tensor(counts, dtype=torch.float64)
