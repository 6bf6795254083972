"""Comparison of a finished run with the pinned one: exact where the result is exact, with tolerances elsewhere."""

import base64
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlprune.numeric.masks.packed_masks import PackedLevels

Contract = Mapping[str, Mapping[str, Any]]
"""What `contract.run_contract` returns."""


@dataclass(frozen=True)
class Tolerance:
    """Two numbers are equal if they differ by at most `absolute + relative * size`, with the size of the pinned one."""

    relative: float
    absolute: float = 0.0

    def accepts(self, found: float, pinned: float, *, size: float | None = None) -> bool:
        """Return whether two numbers are equal; `size` is by default that of the pinned number. NaN equals nothing."""
        return abs(found - pinned) <= self.absolute + self.relative * (abs(pinned) if size is None else size)


ARRAYS = Tolerance(1e-5)
"""Columns and tensors of files: sums in float32, of which processors change 2e-7 of the norm."""
ROWS = Tolerance(1e-4, 1e-6)
"""Numbers of rows: differences and intervals of the same sums, which lose digits where two numbers nearly cancel."""
P_VALUES = Tolerance(0.0, 5e-3)
"""Shares of random draws: a draw that ties with the observed value may fall on either side."""
AFTER_NEAR_TIES = Tolerance(0.05, 0.05)
"""All numbers of a run in whose masks a near tie fell on the other side: another weight is kept, so all may change."""
DIFFERING_ENTRIES = 1e-3
"""Largest share of the entries of all masks of a run that may differ: near ties, of which these recipes have few."""


def differences(found: Contract, pinned: Contract) -> list[str]:
    """List what differs between the contract of a run and the pinned one; empty if they agree.

    Ids, paths, parameters, integers and text are compared exactly, numbers with a tolerance, masks by their number of
    differing entries. If some entries of the masks differ, at most `DIFFERING_ENTRIES`, then the outlines of records
    are still compared exactly, but numbers with `AFTER_NEAR_TIES`, and values that depend on the masks not at all.
    """
    missing = [
        f"{group} {name}: {'pinned, but missing' if name in pinned[group] else 'not pinned'}"
        for group in ("records", "files", "masks")
        for name in sorted(found[group].keys() ^ pinned[group].keys())
    ]
    if missing:
        return missing
    n_differing, n_entries = differing_entries(found["masks"], pinned["masks"])
    if n_differing > DIFFERING_ENTRIES * n_entries:
        return [f"masks: {n_differing} of {n_entries} entries differ"]
    return [
        *_record_differences(found, pinned, exact=not n_differing),
        *_file_differences(found, pinned, exact=not n_differing),
    ]


def differing_entries(found: Mapping[str, Any], pinned: Mapping[str, Any]) -> tuple[int, int]:
    """Return how many entries of some masks have another level, and how many there are in all."""
    n_differing = n_entries = 0
    for name, (shape, n_levels, packed) in pinned.items():
        n_entries += math.prod(shape)
        if found[name][:2] != [shape, n_levels]:
            n_differing += math.prod(shape)
        elif found[name][2] != packed:
            levels = [
                PackedLevels(base64.b64decode(data), tuple(shape), n_levels).unpack()
                for data in (found[name][2], packed)
            ]
            n_differing += int((levels[0] != levels[1]).sum())
    return n_differing, n_entries


def _record_differences(found: Contract, pinned: Contract, *, exact: bool) -> Iterator[str]:
    for name, (outline, values, numbers) in pinned["records"].items():
        if found["records"][name][0] != outline:
            yield f"{name}: parameters, parents, files or columns"
        elif exact and found["records"][name][1] != values:
            yield f"{name}: text, integers or truth values"
        else:
            for column, expected in numbers.items():
                tolerance = _tolerance_of_column(column) if exact else AFTER_NEAR_TIES
                got = found["records"][name][2].get(column, [])
                if not _all_accepted(tolerance, got, expected):
                    yield f"{name} {column}: {got}, pinned {expected}"


def _file_differences(found: Contract, pinned: Contract, *, exact: bool) -> Iterator[str]:
    tolerance = ARRAYS if exact else AFTER_NEAR_TIES
    for name, (values, numbers) in pinned["files"].items():
        if exact and found["files"][name][0] != values:
            yield f"{name}: text, integers, truth values or shapes"
            continue
        for column, expected in numbers.items():
            got = found["files"][name][1].get(column, [])
            if not arrays_agree(got, expected, tolerance):
                yield f"{name} {column}: {got}, pinned {expected}"


def _tolerance_of_column(column: str) -> Tolerance:
    return P_VALUES if column.partition(".")[2].startswith("p_") else ROWS


def _all_accepted(tolerance: Tolerance, found: Sequence[float], pinned: Sequence[float]) -> bool:
    return len(found) == len(pinned) and all(tolerance.accepts(*pair) for pair in zip(found, pinned, strict=True))


def arrays_agree(found: Sequence[float], pinned: Sequence[float], tolerance: Tolerance = ARRAYS) -> bool:
    """Return whether two digests of arrays agree: an element may differ by a share of the root mean square, too."""
    if len(found) != len(pinned) or found[0] != pinned[0]:
        return False
    count, norm, weighted_sum, *sample = pinned
    mean_size = norm / math.sqrt(max(count, 1))
    sizes = [norm, max(norm, abs(weighted_sum)), *(max(abs(value), mean_size) for value in sample)]
    return all(tolerance.accepts(a, b, size=size) for a, b, size in zip(found[1:], pinned[1:], sizes, strict=True))
