"""Selection over a matrix, compared with a stable sort of all its scores."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.numeric.selection.matrix import select_in_matrix

PROPERTY = settings(max_examples=25, deadline=None, derandomize=True, database=None)


def sorted_levels(scores: np.ndarray, counts: np.ndarray, *, highest: bool = False) -> np.ndarray:
    values = scores.astype(np.float64).reshape(-1)
    levels = np.empty(scores.size, np.uint8)
    order = np.argsort(-values if highest else values, kind="stable")
    levels[order] = np.searchsorted(counts, np.arange(scores.size), side="right")
    return levels.reshape(scores.shape)


def hard_matrices() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    shape = (90, 130)
    breadth = 1 + random.random(shape) * 1e-5
    outliers = breadth.copy()
    outliers[3, 4], outliers[80, 2] = 1e30, 0
    matrices = {
        "realistic": np.abs(random.standard_normal(shape)) * np.exp(random.standard_normal(130)),
        "equal": np.ones(shape),
        "zeros": np.zeros(shape) * random.choice([1, -1], shape),
        "many ties": random.integers(0, 3, shape),
        "a hair's breadth": breadth,
        "a narrow range": 1 + random.random(shape) * 0.02,
        "a hair's breadth and outliers": outliers,
        "denormal": random.random(shape) * 1e-41,
        "all magnitudes": np.exp(random.uniform(-80, 80, shape)),
        "negative": random.standard_normal(shape),
        "both extremes": random.choice(np.array([-3.4e38, 0, 3.4e38]), shape),
    }
    return {name: values.astype(np.float32) for name, values in matrices.items()}


@pytest.mark.parametrize("n_weights", [2**20, 500])
def test_hard_matrices_are_selected_as_a_stable_sort_orders_them(monkeypatch, n_weights: int) -> None:
    monkeypatch.setattr("mlprune.numeric.selection.matrix._WEIGHTS_PER_CHUNK", n_weights)
    size = 90 * 130
    for counts in ([size // 2], [0], [size], [0, 1, 2, 77, 77, size // 3, size - 1, size], range(46, size, 46)):
        asked = np.array(counts)
        for name, scores in hard_matrices().items():
            for highest in (False, True):
                levels = select_in_matrix(scores, asked, highest=highest)
                assert np.array_equal(levels, sorted_levels(scores, asked, highest=highest)), name


@PROPERTY
@given(st.integers(1, 5), st.integers(1, 9), st.booleans(), st.data())
def test_ties_are_removed_in_row_major_order(n_rows: int, width: int, highest: bool, data) -> None:
    size = n_rows * width
    values = data.draw(st.lists(st.sampled_from([0.0, -0.0, 1e-40, 1.0, 2.0]), min_size=size, max_size=size))
    scores = np.array(values, np.float32).reshape(n_rows, width)
    counts = np.array(data.draw(st.lists(st.integers(0, size), min_size=1, max_size=6).map(sorted)))
    levels = [len(counts)] * size
    flat = scores.reshape(-1).tolist()
    for rank, place in enumerate(sorted(range(size), key=lambda i: (-flat[i] if highest else flat[i], i))):
        levels[place] = sum(1 for count in counts if count <= rank)
    assert select_in_matrix(scores, counts, highest=highest).reshape(-1).tolist() == levels
