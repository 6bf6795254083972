"""Compiled sum of a divergence over the vocabulary, in float64.

The exponential is a polynomial without branches, which compilers turn into vector instructions. Sums are added in
`LANES` parts of fixed order, so the bits depend on the row alone.
"""

import math
from functools import partial

import numpy as np

from mlprune.numeric.sortable_bits import Array, compiled

fused = partial(compiled, fuses=True)
LANES = 512
"""Partial sums, whose additions do not wait for each other."""
SMALLEST = -700.0
"""Log-probability below which a token counts as this one: e^-700 is 1e-304. Removed tokens have minus infinity."""
_LOG2_E = 1 / math.log(2)
_LN2_HIGH = 0.6931471803691238
_LN2_LOW = 1.9082149292705877e-10
"""ln 2 in two parts, the first with trailing zeros, so that its small multiples are exact."""
_TO_INTEGER = 1.5 * 2.0**52
"""Adding and subtracting it rounds to an integer."""
_C2, _C3, _C4, _C5, _C6, _C7, _C8, _C9, _C10, _C11, _C12, _C13 = (1 / math.factorial(k) for k in range(2, 14))
_BIAS, _MANTISSA_BITS = np.int64(1023), np.int64(52)


@fused
def exponential(x: float) -> float:
    """Return e^x for -708 < x < 709, within a few units in the last place: 2^n e^r, with |r| <= ln(2) / 2."""
    n = (x * _LOG2_E + _TO_INTEGER) - _TO_INTEGER
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    r2 = r * r
    high = _C8 + r * _C9 + r2 * (_C10 + r * _C11 + r2 * (_C12 + r * _C13))
    low = _C2 + r * _C3 + r2 * (_C4 + r * _C5 + r2 * (_C6 + r * _C7 + r2 * high))
    power = np.int64((np.int64(n) + _BIAS) << _MANTISSA_BITS).view(np.float64)
    return (1.0 + (r + r2 * low)) * power


@fused
def _add_terms(dense: Array, variant: Array, dense_total: float, variant_total: float, lanes: Array) -> None:
    """Add p (log p - log q) - p + q of some tokens to the partial sums; a negative one, of rounding, counts as 0."""
    for j in range(dense.size):
        log_p, log_q = float(dense[j]) - dense_total, float(variant[j]) - variant_total
        log_p, log_q = SMALLEST if log_p < SMALLEST else log_p, SMALLEST if log_q < SMALLEST else log_q
        p, q = exponential(log_p), exponential(log_q)
        term = p * (log_p - log_q) - p + q
        lanes[j] += 0.0 if term < 0.0 else term


@compiled
def write_divergences(dense: Array, variant: Array, dense_totals: Array, variant_totals: Array, sums: Array) -> None:
    """Write the divergence of each row; see `divergence`.

    Args:
        dense: [m, n] logits of p, float32 or float64.
        variant: [m, n] logits of q.
        dense_totals: [m] float64, log of the sum of exponentials of each row.
        variant_totals: [m] float64.
        sums: [m] float64, overwritten.
    """
    lanes = np.empty(LANES, np.float64)
    for i in range(dense.shape[0]):
        lanes[:] = 0.0
        for start in range(0, dense.shape[1], LANES):
            part = slice(start, start + LANES)
            _add_terms(dense[i, part], variant[i, part], dense_totals[i], variant_totals[i], lanes)
        sums[i] = lanes.sum()
