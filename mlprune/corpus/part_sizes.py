"""How many demonstrations a mixed set takes of each of its parts."""

from collections.abc import Sequence
from typing import Literal

from mlprune.errors import CorpusError

SharesName = Literal["equal", "proportional"]


def part_counts(sizes: Sequence[int], *, shares: SharesName, samples: int | None = None) -> tuple[int, ...]:
    """Demonstrations taken of each part, the first ones of it.

    Without `samples`, equal shares take as many of every part as the smallest has, proportional ones all. With it,
    equal shares differ by one at most, the earlier parts having more; proportional ones are the parts' quotas
    samples * size / total rounded down, and the rest goes to the largest remainders, equal ones to the earlier part.

    Args:
        sizes: demonstrations of each part.
        samples: demonstrations of the mixed set.
    Raises:
        CorpusError: a part has too few, or would give none.
    """
    if samples is None:
        return (min(sizes),) * len(sizes) if shares == "equal" else tuple(sizes)
    taken = _equal(samples, len(sizes)) if shares == "equal" else _proportional(samples, sizes)
    for part, (wanted, size) in enumerate(zip(taken, sizes, strict=True), start=1):
        if wanted > size:
            message = "a part of a mixed set has too few demonstrations"
            raise CorpusError(message, part=part, shares=shares, expected=f"at least {wanted}", got=size)
        if wanted == 0:
            message = "a part of a mixed set would give no demonstration"
            raise CorpusError(message, part=part, shares=shares, expected="more samples", got=samples)
    return taken


def _equal(samples: int, n_parts: int) -> tuple[int, ...]:
    return tuple(samples // n_parts + (part < samples % n_parts) for part in range(n_parts))


def _proportional(samples: int, sizes: Sequence[int]) -> tuple[int, ...]:
    """Whole numbers in proportion to the sizes, by largest remainder."""
    total = sum(sizes)
    taken = [samples * size // total for size in sizes]
    by_remainder = sorted(range(len(sizes)), key=lambda part: (-(samples * sizes[part] % total), part))
    for part in by_remainder[: samples - sum(taken)]:
        taken[part] += 1
    return tuple(taken)
