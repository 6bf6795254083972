"""Sizes of the parts of a mixed demonstration set."""

from collections.abc import Sequence

from mlprune.errors import CorpusError
from mlprune.vocabulary import SharesName


def part_counts(sizes: Sequence[int], *, shares: SharesName, samples: int | None = None) -> tuple[int, ...]:
    """The number of demonstrations that a mixed set takes from each part; it takes the first ones.

    Without `samples`, equal shares take as many from every part as the smallest part has. Proportional shares take all.

    With `samples`, equal shares differ by at most one, and earlier parts get more. Proportional shares are the quotas
    samples * size / total, rounded down; the remaining demonstrations go to the largest remainders, and among equal
    remainders to the earlier part.

    Args:
        sizes: demonstrations in each part.
        samples: demonstrations of the mixed set.
    Raises:
        CorpusError: a part has too few demonstrations, or would contribute none.
    """
    if samples is None:
        return (min(sizes),) * len(sizes) if shares == "equal" else tuple(sizes)
    counts = _equal(samples, len(sizes)) if shares == "equal" else _proportional(samples, sizes)
    for part, (wanted, size) in enumerate(zip(counts, sizes, strict=True), start=1):
        if wanted > size:
            message = "a part of a mixed set has too few demonstrations"
            raise CorpusError(message, part=part, shares=shares, expected=f"at least {wanted}", got=size)
        if wanted == 0:
            message = "a part would contribute no demonstration to the mixed set"
            raise CorpusError(message, part=part, shares=shares, expected="more samples", got=samples)
    return counts


def _equal(samples: int, n_parts: int) -> tuple[int, ...]:
    return tuple(samples // n_parts + (part < samples % n_parts) for part in range(n_parts))


def _proportional(samples: int, sizes: Sequence[int]) -> tuple[int, ...]:
    """Whole numbers in proportion to the sizes, by the largest remainder method."""
    total = sum(sizes)
    counts = [samples * size // total for size in sizes]
    by_remainder = sorted(range(len(sizes)), key=lambda part: (-(samples * sizes[part] % total), part))
    for part in by_remainder[: samples - sum(counts)]:
        counts[part] += 1
    return tuple(counts)
