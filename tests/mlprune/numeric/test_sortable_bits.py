"""Keys are in the order of the scores."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.numeric.sortable_bits import flip_of, key_of, row_chunks

PROPERTY = settings(max_examples=60, deadline=None, derandomize=True, database=None)
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


def key(value: float, *, highest: bool) -> int:
    return int(key_of(np.float32(value).view(np.uint32), flip_of(highest)))


@PROPERTY
@given(FLOATS, FLOATS)
def test_keys_compare_as_their_scores_do(a: float, b: float) -> None:
    assert (key(a, highest=False) < key(b, highest=False)) == (a < b)
    assert (key(a, highest=True) < key(b, highest=True)) == (a > b)
    assert (key(a, highest=False) == key(b, highest=False)) == (a == b)


@PROPERTY
@given(st.integers(0, 40), st.integers(0, 9), st.integers(1, 30))
def test_chunks_cover_every_row_once_in_order(n_rows: int, d: int, n_weights: int) -> None:
    rows = [row for chunk in row_chunks(np.empty((n_rows, d)), n_weights) for row in range(n_rows)[chunk]]
    assert rows == (list(range(n_rows)) if d else [])
