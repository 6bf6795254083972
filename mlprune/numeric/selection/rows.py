"""Compiled selection within rows: the lowest entries of each row, for several counts at once.

Rows are not sorted. Scores are converted to unsigned integers of the same order. A small histogram shows which bins are
entirely between two counts, and only the entries of bins that contain a count are sorted. Time is linear in the length
of a row for all values; scratch memory is a few rows. Rows with few entries, and the groups of N:M, are ranked by
comparing all pairs.
"""

import numpy as np

from mlprune.numeric.sortable_bits import (
    ZERO,
    Array,
    bits_of,
    check_finite,
    check_matrix,
    compiled,
    flip_of,
    key_range,
    row_chunks,
)
from mlprune.processes.parallel import parallel_map

_ROWS_AT_A_TIME = 512
_WEIGHTS_PER_CHUNK = 2**19
"""Approximate number of weights per piece of work."""
_FEW = 32
"""Most entries that are ranked by comparing all pairs; more are sorted by digits."""
_MOST_BINS = 2**13
_BINS_TOGETHER = 16
"""Bins whose sizes are added before they are compared with a count."""
_WINDOW = np.uint32(2**27 - 1)
"""The bins cover the 16 powers of two below the largest score; all smaller scores, mostly zeros, are in one bin."""
CUT = 256
"""Smaller codes are levels; this code and larger ones are bins that contain a count."""
_ONE = np.uint32(1)
_HALF = np.uint64(32)
_INDEX = np.uint64(0xFFFF_FFFF)
_DIGIT = np.uint64(255)


@compiled
def _compare(firsts: Array, seconds: Array, first_ranks: Array, second_ranks: Array) -> None:
    """Raise the rank of the higher of two entries; of the second if they are equal."""
    for i in range(firsts.size):
        is_second = firsts[i] <= seconds[i]
        second_ranks[i] += np.uint8(is_second)
        first_ranks[i] += np.uint8(not is_second)


@compiled
def compare_within_rows(bits: Array, level_at: Array, flip: np.uint32, levels: Array) -> np.uint32:
    """Rank the few entries of each row by comparing all pairs, many rows at once; returns the largest magnitude."""
    n_rows, d = bits.shape
    keys, ranks = np.empty((d, _ROWS_AT_A_TIME), np.uint32), np.empty((d, _ROWS_AT_A_TIME), np.uint8)
    magnitude = ZERO
    for start in range(0, n_rows, _ROWS_AT_A_TIME):
        n = min(_ROWS_AT_A_TIME, n_rows - start)
        ranks[:] = 0
        for j in range(d):
            magnitude = max(magnitude, key_range(bits[start : start + n, j], flip, keys[j])[2])
            for i in range(j):
                _compare(keys[i], keys[j], ranks[i], ranks[j])
        for i in range(n):
            for j in range(d):
                levels[start + i, j] = level_at[ranks[j, i]]
    return magnitude


def select_in_rows(scores: Array, counts: Array, *, highest: bool = False) -> Array:
    """Find, for every entry, the index of the first count that removes it.

    Count c removes the c lowest (or highest) entries of a row. Of equal entries, the lower column is first in both
    cases. 0.0 and -0.0 are equal.

    Args:
        scores: [rows, d], float32, finite, any memory layout.
        counts: [rows, n], or [1, n] for all rows: integers from 0 to d, ascending along n, which is 1 to 255.
        highest: remove the highest entries instead.
    Returns: [rows, d], uint8: index into the counts, n if none removes the entry.
    Raises:
        ShapeError: `scores` is not a float32 matrix.
        StatisticsError: a score is not finite.
    """
    check_matrix(scores)
    levels = np.empty(scores.shape, dtype=np.uint8)
    counts, flip = np.array(counts, dtype=np.int64, order="C"), flip_of(highest)
    is_narrow = scores.shape[1] <= _FEW and len(counts) == 1
    level_at = np.searchsorted(counts[0], np.arange(scores.shape[1]), side="right").astype(np.uint8)

    def select(rows: slice) -> np.uint32:
        bits = bits_of(scores[rows])
        if is_narrow:
            return compare_within_rows(bits, level_at, flip, levels[rows])
        return _select_rows(bits, counts[rows] if len(counts) > 1 else counts, flip, levels[rows])

    check_finite(scores, max(parallel_map(select, row_chunks(scores, _WEIGHTS_PER_CHUNK)), default=ZERO))
    return levels


@compiled
def _fill_bins(keys: Array, window: tuple[np.uint32, np.uint32, np.uint32], bins: Array, sizes: Array) -> None:
    """Fill in the bin of every key, with the outermost bins for keys outside, and the number of keys per bin."""
    least, greatest, shift = window
    for i in range(keys.size):
        bins[i] = (min(max(keys[i], least), greatest) - least) >> shift
    sizes[:] = 0
    for i in range(bins.size):
        sizes[bins[i]] += _ONE


@compiled
def _code_bins(sizes: Array, counts: Array, codes: Array, cuts: Array) -> int:
    """Fill in the level of every bin between two counts, and CUT + 0, CUT + 1, ... for bins that contain a count.

    `cuts` gets the start of each cut bin's entries, their end (which still equals the start), and the rank of the first
    entry. Returns the number of cut bins.
    """
    n, n_cuts, n_entries, b, rank, k = counts.size, 0, 0, 0, 0, 0
    while k < n:
        first = b
        while b + _BINS_TOGETHER <= sizes.size:
            n_together = sizes[b : b + _BINS_TOGETHER].sum()
            if rank + n_together > counts[k]:
                break
            rank += n_together
            b += _BINS_TOGETHER
        while b < sizes.size and rank + sizes[b] <= counts[k]:
            rank += sizes[b]
            b += 1
        codes[first:b] = k
        if rank == counts[k]:
            k += 1
            continue
        codes[b] = CUT + n_cuts
        cuts[n_cuts, 0], cuts[n_cuts, 1], cuts[n_cuts, 2] = n_entries, n_entries, rank
        n_cuts += 1
        n_entries += sizes[b]
        rank += sizes[b]
        b += 1
        while k < n and counts[k] < rank:
            k += 1
    codes[b:] = n
    return n_cuts


@compiled
def _place(keys: Array, bins: Array, coding: tuple[Array, Array], entries: Array, levels: Array) -> None:
    """Write the levels, and collect the entries of cut bins in the order of their columns."""
    codes, cuts = coding
    for i in range(bins.size):
        code = codes[bins[i]]
        levels[i] = np.uint8(code)
        if code >= CUT:
            cut = np.uint32(code) - np.uint32(CUT)
            end = cuts[cut, 1]
            entries[end] = (np.uint64(keys[i]) << _HALF) | np.uint64(i)
            cuts[cut, 1] = end + 1


@compiled
def _sort_by_digits(entries: Array, spare: Array) -> None:
    """Sort many entries: a stable distribution by each byte in which the keys differ, the lowest byte first."""
    differing = np.uint64(0)
    for i in range(entries.size):
        differing |= entries[i] ^ entries[0]
    starts = np.empty(256, np.int64)
    for byte in range(4, 8):
        shift = np.uint64(8 * byte)
        if (differing >> shift) & _DIGIT == 0:
            continue
        starts[:] = 0
        for i in range(entries.size):
            spare[i] = entries[i]
            starts[(entries[i] >> shift) & _DIGIT] += 1
        start = 0
        for digit in range(256):
            start, starts[digit] = start + starts[digit], start
        for i in range(entries.size):
            digit = (spare[i] >> shift) & _DIGIT
            entries[starts[digit]] = spare[i]
            starts[digit] += 1


@compiled
def _sort(entries: Array, spare: Array) -> None:
    """Sort entries (key in the upper half, index in the lower half) that are in the order of their indices."""
    if entries.size > _FEW:
        _sort_by_digits(entries, spare)
        return
    for i in range(1, entries.size):
        entry, j = entries[i], i
        while j > 0 and entries[j - 1] > entry:
            entries[j] = entries[j - 1]
            j -= 1
        entries[j] = entry


@compiled
def _rank(entries: Array, rank: int, counts: Array, levels: Array) -> None:
    """Write the levels of sorted entries, of which the first has the given rank."""
    k = 0
    for i in range(entries.size):
        while k < counts.size and counts[k] <= rank + i:
            k += 1
        levels[entries[i] & _INDEX] = k


@compiled
def _select_rows(bits: Array, counts: Array, flip: np.uint32, levels: Array) -> np.uint32:
    """Fill the levels of some rows, and return the largest magnitude, as bits."""
    n_rows, d = bits.shape
    n_bins = 4
    while n_bins < min(d // 2, _MOST_BINS):
        n_bins *= 2
    keys, bins = np.empty(d, np.uint32), np.empty(d, np.uint16)
    entries, spare = np.empty(d, np.uint64), np.empty(d, np.uint64)
    sizes, codes = np.empty(n_bins, np.uint32), np.empty(n_bins, np.uint16)
    cuts = np.empty((CUT, 3), np.int64)
    magnitude = ZERO
    for row in range(n_rows):
        here = counts[min(row, len(counts) - 1)]
        least, greatest, largest = key_range(bits[row], flip, keys)
        magnitude = max(magnitude, largest)
        if flip:
            greatest = np.uint32(min(greatest, least + np.uint64(_WINDOW)))
        elif greatest > _WINDOW:
            least = np.uint32(max(least, greatest - _WINDOW))
        shift = ZERO
        while (greatest - least) >> shift >= n_bins:
            shift += _ONE
        _fill_bins(keys, (least, greatest, shift), bins, sizes)
        n_cuts = _code_bins(sizes, here, codes, cuts)
        _place(keys, bins, (codes, cuts), entries, levels[row])
        for cut in range(n_cuts):
            start, end, rank = cuts[cut, 0], cuts[cut, 1], cuts[cut, 2]
            _sort(entries[start:end], spare)
            _rank(entries[start:end], rank, here, levels[row])
    return magnitude
