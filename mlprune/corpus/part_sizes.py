"""Sizes of the parts of a mixed demonstration set."""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from math import ceil

from mlprune.errors import CorpusError
from mlprune.vocabulary import SharesName

NumericShares = Sequence[float]
"""One positive number per part, in any unit."""


def part_counts(
    sizes: Sequence[int], *, shares: SharesName | NumericShares, samples: int | None = None
) -> tuple[int, ...]:
    """The number of demonstrations that a mixed set takes from each part; it takes the first ones.

    Without `samples`, equal shares take as many from every part as the smallest part has. Proportional shares take all.
    Numeric shares take the largest total for which every part has enough.

    With `samples`, equal shares differ by at most one, and earlier parts get more. Proportional shares are the quotas
    samples * size / total, rounded down; the remaining demonstrations go to the largest remainders, and among equal
    remainders to the earlier part. Numeric shares are rounded in the same way, with their exact decimal values in the
    place of the sizes.

    Args:
        sizes: demonstrations in each part.
        samples: demonstrations of the mixed set.
    Raises:
        CorpusError: a part has too few demonstrations, or would contribute none.
    """
    if samples is None:
        return _largest(sizes, shares)
    counts = _counts(samples, sizes, shares)
    for part, (wanted, size) in enumerate(zip(counts, sizes, strict=True), start=1):
        if wanted > size:
            message = "a part of a mixed set has too few demonstrations"
            raise CorpusError(message, part=part, shares=_text(shares), expected=f"at least {wanted}", got=size)
        if wanted == 0:
            message = "a part would contribute no demonstration to the mixed set"
            raise CorpusError(message, part=part, shares=_text(shares), expected="more samples", got=samples)
    return counts


def exact_shares(shares: NumericShares) -> tuple[Fraction, ...]:
    """Return shares that sum to 1, computed from the decimal texts of the numbers.

    Raises:
        CorpusError: one is not a positive finite number.
    """
    numbers = [Decimal(str(share)) for share in shares]
    if not all(number.is_finite() and number > 0 for number in numbers):
        raise CorpusError("a share is not a positive number", expected="numbers above 0", got=list(shares))
    total = sum(map(Fraction, numbers))
    return tuple(Fraction(number) / total for number in numbers)


def _counts(samples: int, sizes: Sequence[int], shares: SharesName | NumericShares) -> tuple[int, ...]:
    if shares == "equal":
        return tuple(samples // len(sizes) + (part < samples % len(sizes)) for part in range(len(sizes)))
    if isinstance(shares, str):
        return _by_largest_remainder(samples, [Fraction(size, sum(sizes)) for size in sizes])
    return _by_largest_remainder(samples, exact_shares(shares))


def _largest(sizes: Sequence[int], shares: SharesName | NumericShares) -> tuple[int, ...]:
    """The largest counts that the parts allow.

    Raises:
        CorpusError: a part would contribute none.
    """
    if isinstance(shares, str):
        return (min(sizes),) * len(sizes) if shares == "equal" else tuple(sizes)
    exact = exact_shares(shares)
    quotas = ((size + 1) / share for size, share in zip(sizes, exact, strict=True))
    bound = min(sum(sizes), ceil(min(quotas)) - 1)  # a quota of size + 1 takes more than the part has
    for samples in range(bound, 0, -1):
        counts = _by_largest_remainder(samples, exact)
        if all(count <= size for count, size in zip(counts, sizes, strict=True)):
            return part_counts(sizes, shares=shares, samples=samples)
    raise CorpusError("the parts of a mixed set are too small for its shares", shares=_text(shares), got=list(sizes))


def _by_largest_remainder(samples: int, shares: Sequence[Fraction]) -> tuple[int, ...]:
    """Whole numbers in proportion to shares that sum to 1, by the largest remainder method."""
    quotas = [samples * share for share in shares]
    counts = [int(quota) for quota in quotas]
    by_remainder = sorted(range(len(shares)), key=lambda part: (counts[part] - quotas[part], part))
    for part in by_remainder[: samples - sum(counts)]:
        counts[part] += 1
    return tuple(counts)


def _text(shares: SharesName | NumericShares) -> str:
    return shares if isinstance(shares, str) else ", ".join(f"{share:g}" for share in shares)
