"""Gram matrices, sums of features, moments and squared gradients, compared with plain float64 loops."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mlprune.errors import ShapeError, StatisticsError
from mlprune.numeric.activations import feature_sums as gradient_squares
from mlprune.numeric.activations import gram as module
from mlprune.numeric.activations.feature_sums import (
    FeatureSums,
    Flow,
    GradientSquares,
    feature_moments,
    feature_sums,
    joined_moments,
)
from mlprune.numeric.activations.gram import (
    GramAccumulator,
    combined_products,
    mirrored,
    packed_triangle,
    unpacked_triangle,
)
from mlprune.processes.parallel import set_worker_threads
from tests.drawn import drawn
from tests.pretended_gpus import pretended_gpus
from tests.refusals import refused


def symmetric(n: int, seed: int = 0) -> torch.Tensor:
    rows = torch.randn(n + 2, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return rows.T @ rows


@pytest.mark.parametrize("n", [1, 2, 3, 8, 9])
def test_a_matrix_comes_back_from_its_upper_triangle(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TILE", 3)
    matrix = mirrored(symmetric(n))
    packed = packed_triangle(matrix.triu())
    assert packed.tolist() == [float(matrix[i, j]) for i in range(n) for j in range(i, n)]
    assert torch.equal(unpacked_triangle(packed), matrix)
    assert torch.equal(mirrored(matrix.triu() + torch.full((n, n), torch.nan).tril(-1).nan_to_num(5.0)), matrix)


def test_a_vector_of_another_length_is_refused() -> None:
    for wrong in (torch.zeros(2), torch.zeros(3, 2)):
        with pytest.raises(ShapeError):
            unpacked_triangle(wrong)


def test_sets_count_by_their_shares_whatever_their_traces() -> None:
    first, second = symmetric(4), symmetric(4, seed=1) * 1000
    combined = combined_products([first, second], (0.25, 0.75))
    traces = [sum(float(matrix[k, k]) for k in range(4)) for matrix in (first, second)]
    for i, j in itertools.product(range(4), repeat=2):
        expected = 0.25 * float(first[i, j]) / traces[0] + 0.75 * float(second[i, j]) / traces[1]
        assert float(combined[i, j]) == pytest.approx(expected)
    torch.testing.assert_close(combined, combined_products([first * 7, second], (0.25, 0.75)))
    assert float(combined.diagonal().sum()) == pytest.approx(1)


def test_a_single_matrix_stays_as_it_is_and_a_silent_set_counts_as_zero() -> None:
    matrix, silent = symmetric(3), torch.zeros(3, 3, dtype=torch.float64)
    assert combined_products([matrix], (1.0,)) is matrix
    torch.testing.assert_close(combined_products([matrix, silent], (0.5, 0.5)), 0.5 * matrix / matrix.diagonal().sum())
    for wrong in ([silent, silent], [matrix, -matrix], [matrix, matrix * torch.nan]):
        with pytest.raises(StatisticsError):
            combined_products(wrong, (0.5, 0.5))


PROPERTY = settings(max_examples=25, deadline=None, derandomize=True, database=None)
CPU = torch.device("cpu")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_sums_equal_plain_loops_in_float64(dtype: torch.dtype) -> None:
    pieces = [drawn(5, 7).to(dtype), drawn(0, 7).to(dtype), drawn(3, 7, seed=1).to(dtype)]
    sums = GramAccumulator(7, CPU)
    sums.add(pieces)
    rows = [row for piece in pieces for row in piece.double().tolist()]
    loops = [[sum(row[i] * row[j] for row in rows) for j in range(7)] for i in range(7)]
    assert sums.matrix().dtype == torch.float64
    torch.testing.assert_close(sums.matrix(), torch.tensor(loops, dtype=torch.float64), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_float32_products_of_each_demonstration_are_added_in_float64(dtype: torch.dtype) -> None:
    pieces = [drawn(n, 7, seed=n).to(dtype) for n in (30, 0, 3)]
    sums = GramAccumulator(7, CPU, dtype=torch.float32)
    sums.add(pieces)
    expected = sum((piece.float().T @ piece.float()).double() for piece in pieces)
    assert sums.matrix().dtype == torch.float64
    assert torch.equal(sums.matrix(), mirrored(expected))


@PROPERTY
@given(
    n_features=st.integers(1, 20),
    tile=st.integers(1, 8),
    cut=st.integers(0, 4),
    n_threads=st.integers(1, 3),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_neither_calls_nor_threads_change_bits_and_the_sum_is_symmetric(
    n_features: int, tile: int, cut: int, n_threads: int, dtype: torch.dtype
) -> None:
    pieces = [drawn(n_tokens, n_features, seed=n_tokens) for n_tokens in (4, 1, 9, 2)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_GRAM_TILE", tile)
        alone, parted = (GramAccumulator(n_features, CPU, dtype=dtype) for _ in range(2))
        alone.add(pieces)
        set_worker_threads(n_threads)
        try:
            parted.add(pieces[:cut])
            parted.add(pieces[cut:])
        finally:
            set_worker_threads(1)
        assert torch.equal(alone.matrix(), parted.matrix())
        assert torch.equal(alone.matrix(), alone.matrix().T)
        expected = sum(piece.double().T @ piece.double() for piece in pieces)
        tolerance = 1e-12 if dtype == torch.float64 else 1e-5
        torch.testing.assert_close(alone.matrix(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("tile", "most_operations"), [(4096, 30), (4, 90)])
def test_an_accelerator_adds_in_few_operations_without_a_wait(tile: int, most_operations: int) -> None:
    pieces = [drawn(5, 7), drawn(3, 7, seed=1)]
    with pytest.MonkeyPatch.context() as patch, pretended_gpus() as ledger:
        patch.setattr(module, "_ACCELERATOR_TILE", tile)
        sums = GramAccumulator(7, torch.device("cuda:0"))
        on_gpu = [piece.to("cuda:0") for piece in pieces]
        ledger.clear()
        sums.add(on_gpu)
        assert ledger.waits == 0
        assert ledger.operations <= most_operations
        found = sums.matrix().cpu()
    assert torch.equal(found, found.T)
    torch.testing.assert_close(found, sum(piece.double().T @ piece.double() for piece in pieces))


def test_the_matrix_may_be_read_between_two_additions() -> None:
    sums = GramAccumulator(4, CPU)
    sums.add([drawn(3, 4)])
    first = sums.matrix().clone()
    sums.add([drawn(3, 4)])
    torch.testing.assert_close(sums.matrix(), 2 * first)


def test_tokens_of_other_features_are_an_error_and_nothing_is_added() -> None:
    sums = GramAccumulator(4, CPU)
    for wrong in (drawn(3, 5), drawn(4)):
        with refused(ShapeError, expected="[tokens, 4]"):
            sums.add([drawn(2, 4), wrong])
    assert not sums.matrix().any()


def drawn_demonstrations() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n, 5, generator=generator) * 0.5 + 3 for n in (4, 1, 0, 6)]


def loops(demonstrations: list[torch.Tensor], weights: list[float]) -> dict[str, list[float]]:
    """The moments of every feature by plain loops."""
    found: dict[str, list[float]] = {"sums": [], "squares": [], "within_variances": []}
    for j in range(5):
        total = squares = variance = 0.0
        for rows, weight in zip(demonstrations, weights, strict=True):
            values = [float(row[j]) for row in rows.double()]
            mean = sum(values) / max(1, len(values))
            total += weight * sum(values)
            squares += weight * sum(value**2 for value in values)
            variance += weight * sum((value - mean) ** 2 for value in values) / max(1, len(values))
        for name, value in (("sums", total), ("squares", squares), ("within_variances", variance / sum(weights))):
            found[name].append(value)
    return found


@pytest.mark.parametrize("weights", [None, [1.0, 0.0, 2.0, 1.0]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_moments_are_those_of_plain_loops(weights: list[float] | None, dtype: torch.dtype) -> None:
    demonstrations = [rows.to(dtype) for rows in drawn_demonstrations()]
    n_tokens = torch.tensor([len(rows) for rows in demonstrations])
    given = None if weights is None else torch.tensor(weights)
    moments = feature_moments(feature_sums(demonstrations), n_tokens, given)
    counts = weights or [1.0] * 4
    for name, values in loops(demonstrations, counts).items():
        expected = torch.tensor(values, dtype=torch.float64)
        torch.testing.assert_close(getattr(moments, name), expected, rtol=1e-12, atol=1e-12)
    assert moments.n_demonstrations == sum(counts)
    assert moments.n_tokens == sum(count * n for count, n in zip(counts, (4, 1, 0, 6), strict=True))


def test_a_large_mean_does_not_cancel_the_digits_of_a_small_variance() -> None:
    noise = torch.randn(50, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    moments = feature_moments(feature_sums([noise + 1e7]), torch.tensor([50]))
    assert float(moments.within_variances) == pytest.approx(float(noise.var(correction=0)), rel=1e-6)


def test_joined_sets_count_by_their_shares() -> None:
    first, second = (feature_sums(drawn_demonstrations()[part]) for part in (slice(0, 2), slice(3, 4)))
    sets = [feature_moments(first, torch.tensor([4, 1])), feature_moments(second, torch.tensor([6]))]
    joined = joined_moments(sets, (0.25, 0.75))
    assert joined.n_demonstrations == 3
    expected = 3 * (0.25 * sets[0].sums / 2 + 0.75 * sets[1].sums)
    torch.testing.assert_close(joined.sums, expected)
    torch.testing.assert_close(
        joined.within_variances, 0.25 * sets[0].within_variances + 0.75 * sets[1].within_variances
    )
    assert joined_moments(sets[:1], (1.0,)) is sets[0]


def test_impossible_sums_are_errors() -> None:
    sums = feature_sums(drawn_demonstrations())
    lengths = torch.tensor([4, 1, 0, 6])
    with pytest.raises(ShapeError):
        feature_moments(sums, lengths[:3])
    with pytest.raises(StatisticsError):
        feature_moments(sums, lengths, torch.zeros(4))
    with pytest.raises(StatisticsError):
        feature_moments(FeatureSums(sums.sums * torch.inf, sums.deviations), lengths)


D_OUT, D_IN = 5, 3


def flows(*lengths: int, seed: int = 0) -> list[Flow]:
    generator = torch.Generator().manual_seed(seed)
    return [
        (torch.randn(length, D_OUT, generator=generator), torch.randn(length, D_IN, generator=generator))
        for length in lengths
    ]


def by_loops(given: list[Flow], weights: list[float]) -> list[list[float]]:
    result = [[0.0] * D_IN for _ in range(D_OUT)]
    for (gradients, inputs), weight in zip(given, weights, strict=True):
        for i in range(D_OUT):
            for j in range(D_IN):
                total = sum(d[i] * x[j] for d, x in zip(gradients.tolist(), inputs.tolist(), strict=True))
                result[i][j] += weight * total**2 / sum(weights)
    return [[math.sqrt(value) for value in row] for row in result]


def summed(given: list[Flow], weights: list[float] | None = None) -> Tensor:
    sums = GradientSquares((D_OUT, D_IN), CPU)
    sums.add(given, weights=weights)
    return sums.root_means()


@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0, 1.0], [0.0, 2.0, 1.0, 0.0]])
def test_the_root_of_the_mean_of_squared_gradients_is_that_of_loops(weights: list[float]) -> None:
    given = flows(4, 1, 0, 6)  # one demonstration has no tokens: its gradient is 0
    result = summed(given, weights)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result.double(), torch.tensor(by_loops(given, weights)).double(), rtol=1e-5, atol=1e-7)


def test_bits_depend_neither_on_threads_nor_on_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradient_squares, "_WEIGHTS_TOGETHER", 2 * D_IN)
    given = flows(4, 2, 7)
    alone = summed(given)
    sums = GradientSquares((D_OUT, D_IN), CPU)
    try:
        set_worker_threads(3)
        for flow in given:
            sums.add([flow])
        assert torch.equal(sums.root_means(), alone)
    finally:
        set_worker_threads(1)


def test_tiny_and_large_gradients_do_not_vanish_or_overflow() -> None:
    for scale in (1e-30, 1e30):
        ((gradients, inputs),) = flows(3)
        result = summed([(gradients * scale, inputs)])
        torch.testing.assert_close(result / scale, summed([(gradients, inputs)]), rtol=1e-5, atol=0)


def test_what_does_not_fit_or_is_not_finite_is_an_error() -> None:
    ((gradients, inputs),) = flows(3)
    with refused(ShapeError, expected="[tokens, 5] and [tokens, 3]", got="(2, 5) and (3, 3)"):
        summed([(gradients[:2], inputs)])
    with pytest.raises(StatisticsError):
        GradientSquares((D_OUT, D_IN), CPU).root_means()
    gradients[0, 2] = torch.nan
    with refused(StatisticsError, output=2):
        summed([(gradients, inputs)])
