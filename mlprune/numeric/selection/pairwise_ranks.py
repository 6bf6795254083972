"""Compiled ranking of rows with few entries by comparing all pairs."""

import numpy as np

from mlprune.numeric.selection.sortable_bits import ZERO, Array, compiled, key_range

_ROWS_AT_A_TIME = 512


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


@compiled
def _compare(firsts: Array, seconds: Array, first_ranks: Array, second_ranks: Array) -> None:
    """Raise the rank of the higher of two entries; of the second if they are equal."""
    for i in range(firsts.size):
        is_second = firsts[i] <= seconds[i]
        second_ranks[i] += np.uint8(is_second)
        first_ranks[i] += np.uint8(not is_second)
