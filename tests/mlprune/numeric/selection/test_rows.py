"""Selection in rows and over a matrix, compared with stable sorts: ties, outliers, narrow, wide, denormal."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.errors import ShapeError, StatisticsError
from mlprune.numeric import sortable_bits as keys_module
from mlprune.numeric.selection.matrix import select_in_matrix
from mlprune.numeric.selection.rows import select_in_rows
from mlprune.numeric.sortable_bits import compiled, flip_of, key_of, row_chunks
from mlprune.processes.parallel import set_worker_threads
from tests.refusals import refused

PROPERTY = settings(max_examples=25, deadline=None, derandomize=True, database=None)
WIDTHS = [1, 2, 3, 7, 32, 33, 64, 1000, 4097, 16384]
VALUES = st.sampled_from([0.0, -0.0, 1e-45, 1e-40, 1.0, np.nextafter(np.float32(1), np.float32(2)), 2.0, 3e38, -1.0])


def looped_levels(scores: np.ndarray, counts: np.ndarray, *, highest: bool) -> list[list[int]]:
    levels = [[counts.shape[1]] * scores.shape[1] for _ in scores]
    for number, row in enumerate(scores.tolist()):
        asked = counts[min(number, len(counts) - 1)]
        order = sorted(range(len(row)), key=lambda column: (-row[column] if highest else row[column], column))
        for rank, column in enumerate(order):
            levels[number][column] = next((k for k, count in enumerate(asked) if count > rank), len(asked))
    return levels


def sorted_levels(scores: np.ndarray, counts: np.ndarray) -> np.ndarray:
    order = torch.argsort(torch.from_numpy(scores) + 0.0, dim=1, stable=True).numpy()
    levels = np.empty(scores.shape, np.uint8)
    at_rank = np.searchsorted(counts[0], np.arange(scores.shape[1]), side="right").astype(np.uint8)
    np.put_along_axis(levels, order, np.broadcast_to(at_rank, scores.shape), axis=1)
    return levels


def hard_rows(width: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(width)
    shape = (6, width)
    realistic = np.abs(random.standard_normal(shape)) * np.exp(random.standard_normal(width))
    breadth = 1 + random.random(shape) * 1e-5
    outliers = breadth.copy()
    outliers[:, 0], outliers[:, -1] = 1e30, 0
    rows = {
        "realistic": realistic,
        "equal": np.ones(shape),
        "zeros": np.zeros(shape),
        "many ties": random.integers(0, 4, shape),
        "a hair's breadth": breadth,
        "a hair's breadth and outliers": outliers,
        "sorted": np.sort(realistic, axis=1),
        "reversed": -np.sort(-realistic, axis=1),
        "denormal": random.random(shape) * 1e-41,
        "zeros among others": np.where(random.random(shape) < 0.4, 0, realistic),
        "all magnitudes": np.exp(random.uniform(-80, 80, shape)),
        "negative": random.standard_normal(shape),
    }
    return {name: values.astype(np.float32) for name, values in rows.items()}


@pytest.mark.thorough("draws and compares many arrays")
@pytest.mark.parametrize("width", WIDTHS)
def test_hard_rows_are_selected_as_a_stable_sort_orders_them(width: int) -> None:
    every = np.array([sorted({0, 1, width // 3, width // 2, width - 1, width} & set(range(width + 1)))])
    for counts in (np.array([[width // 2]]), every, every.repeat(6, axis=0)):
        for name, scores in hard_rows(width).items():
            assert np.array_equal(select_in_rows(scores, counts), sorted_levels(scores, counts)), name
            highest = select_in_rows(scores, counts, highest=True)
            assert np.array_equal(highest, sorted_levels(-scores, counts)), name


@PROPERTY
@given(st.integers(1, 3), st.integers(1, 70), st.booleans(), st.booleans(), st.data())
def test_few_values_are_selected_as_loops_select_them(n_rows, width, highest, by_row, data) -> None:
    values = data.draw(st.lists(VALUES, min_size=n_rows * width, max_size=n_rows * width))
    scores = np.array(values, dtype=np.float32).reshape(n_rows, width)
    row_counts = st.lists(st.integers(0, width), min_size=3, max_size=3).map(sorted)
    n_counts = n_rows if by_row else 1
    counts = np.array(data.draw(st.lists(row_counts, min_size=n_counts, max_size=n_counts)))
    assert select_in_rows(scores, counts, highest=highest).tolist() == looped_levels(scores, counts, highest=highest)


def test_255_counts_have_distinct_levels() -> None:
    scores = np.random.default_rng(0).permutation(1020).astype(np.float32)[None]
    counts = np.arange(4, 1021, 4)[None]
    assert np.array_equal(select_in_rows(scores, counts)[0], scores[0] // 4)


@pytest.mark.thorough("draws and compares many arrays")
def test_the_number_of_threads_and_of_pieces_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = np.random.default_rng(0).integers(0, 500, (300, 700)).astype(np.float32)
    counts, matrix_counts = np.array([[100, 350]]), np.array([1000, 99_999])
    rows, matrix = select_in_rows(scores, counts), select_in_matrix(scores, matrix_counts)
    for module in ("rows", "matrix"):
        monkeypatch.setattr(f"mlprune.numeric.selection.{module}._WEIGHTS_PER_CHUNK", 5000)
    set_worker_threads(3)
    try:
        assert np.array_equal(select_in_rows(scores, counts), rows)
        assert np.array_equal(select_in_matrix(scores, matrix_counts), matrix)
    finally:
        set_worker_threads(1)


@pytest.mark.parametrize("select", [select_in_rows, lambda scores, counts: select_in_matrix(scores, counts[0])])
@pytest.mark.parametrize("shape", [(0, 4), (3, 0)])
def test_an_empty_matrix_has_no_levels(select, shape: tuple[int, int]) -> None:
    assert select(np.empty(shape, np.float32), np.array([[0]])).shape == shape


@pytest.mark.parametrize("width", [8, 400])
@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_is_an_error(width: int, value: float) -> None:
    scores = np.ones((3, width), np.float32)
    scores[2, 3] = value
    for highest in (False, True):
        with refused(StatisticsError, n_wrong=1):
            select_in_rows(scores, np.array([[1]]), highest=highest)
        with refused(StatisticsError, n_wrong=1):
            select_in_matrix(scores, np.array([1]), highest=highest)


@pytest.mark.parametrize("scores", [np.ones(4, np.float32), np.ones((2, 4), np.float64)])
def test_scores_that_are_not_a_float32_matrix_are_an_error(scores: np.ndarray) -> None:
    with refused(ShapeError, expected="float32 [out, in]"):
        select_in_rows(scores, np.array([[1]]))
    with refused(ShapeError, expected="float32 [out, in]"):
        select_in_matrix(scores, np.array([1]))


def test_a_kernel_works_without_a_folder_for_machine_code(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def refusing(**options):
        asked.append(options)
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    monkeypatch.setattr(keys_module, "njit", refusing)

    def double(x: int) -> int:
        return 2 * x

    assert compiled(double)(3) == 6
    assert asked == [{"nogil": True, "cache": True}, {"nogil": True}]


def sorted_matrix_levels(scores: np.ndarray, counts: np.ndarray, *, highest: bool = False) -> np.ndarray:
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
                assert np.array_equal(levels, sorted_matrix_levels(scores, asked, highest=highest)), name


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
