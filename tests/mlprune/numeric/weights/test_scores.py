"""Scores that read gradients, compared with plain loops."""

import math

import pytest
import torch
from torch import Tensor

from mlprune.errors import BadInputError, ShapeError, StatisticsError
from mlprune.numeric.activations.statistics import feature_norms, mean_squares
from mlprune.numeric.weights.scores import (
    contrast_norms,
    magnitude_scores,
    random_scores,
    ria_scores,
    wanda_plus_plus_scores,
    wanda_scores,
)
from tests.drawn import drawn
from tests.refusals import refused


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("alpha", [0.0, 100.0])
def test_wanda_plus_plus_scores_equal_the_formula_written_as_loops(alpha: float, dtype: torch.dtype) -> None:
    weight, norms, gradients = drawn(6, 5).to(dtype), drawn(5, seed=1).abs(), drawn(6, 5, seed=2).abs()
    rows = [
        [abs(float(weight[i, j])) * (alpha * float(gradients[i, j]) + float(norms[j])) for j in range(5)]
        for i in range(6)
    ]
    scores = wanda_plus_plus_scores(weight, norms, gradients, alpha=alpha)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores.double(), torch.tensor(rows, dtype=torch.float64), rtol=1e-6, atol=0)
    if alpha == 0:
        torch.testing.assert_close(scores, wanda_scores(weight, norms), rtol=1e-6, atol=0)


KNOWN_DRAW = [0.5585806965827942, 0.7943179607391357, 0.7902541756629944]
"""Scores of seed 0, block 0, layer fc1: another draw would change random variants, but not their ids."""


def looped_products(weight: Tensor, norms: list[float]) -> Tensor:
    rows = [[abs(float(w)) * norm for w, norm in zip(row, norms, strict=True)] for row in weight]
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_wanda_scores_equal_the_formula_written_as_loops(dtype: torch.dtype) -> None:
    weight, sum_sq = drawn(6, 5).to(dtype), drawn(4, 5, seed=1).square()
    norms = [math.sqrt(sum(float(sum_sq[n, j]) for n in range(4))) for j in range(5)]
    scores = wanda_scores(weight, feature_norms(sum_sq))
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores.double(), looped_products(weight, norms), rtol=1e-6, atol=0)


@pytest.mark.parametrize("function", [wanda_scores, ria_scores])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_scores_of_a_matrix_of_many_rows_are_those_of_its_rows_and_of_its_transposed_storage(function, dtype) -> None:
    weight, norms = drawn(300, 700).to(dtype), drawn(700, seed=1).abs()
    scores = function(weight, norms)
    assert torch.equal(function(weight.t().contiguous().t(), norms), scores)
    expected = weight.double().abs() * norms.double()
    if function is ria_scores:
        magnitudes = weight.double().abs()
        expected = magnitudes / magnitudes.sum(0) + magnitudes / magnitudes.sum(1, keepdim=True)
        expected = expected * norms.double().sqrt()
    torch.testing.assert_close(scores.double(), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scoring_leaves_the_weight_as_it_was_and_builds_no_graph(dtype: torch.dtype) -> None:
    weight = torch.nn.Parameter(drawn(3, 4).to(dtype))
    before = weight.detach().clone()
    norms = torch.full((4,), 2.0)
    for scores in (wanda_scores(weight, norms), ria_scores(weight, norms), magnitude_scores(weight)):
        assert not scores.requires_grad
    assert torch.equal(weight.detach(), before)


@pytest.mark.parametrize("power", [0.5, 1.0, 0.1])
def test_ria_scores_equal_the_formula_written_as_loops(power: float) -> None:
    weight, norms = drawn(6, 5), drawn(5, seed=1).abs()
    rows = [[abs(float(w)) for w in row] for row in weight]
    expected = [
        [
            (rows[i][j] / sum(rows[k][j] for k in range(6)) + rows[i][j] / sum(rows[i])) * float(norms[j]) ** power
            for j in range(5)
        ]
        for i in range(6)
    ]
    scores = ria_scores(weight, norms, power=power)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores.double(), torch.tensor(expected, dtype=torch.float64), rtol=1e-6, atol=0)


def test_ria_scores_of_rows_and_columns_of_zeros_are_zero_and_not_nan() -> None:
    weight = drawn(4, 3)
    weight[1], weight[:, 2] = 0, 0
    scores = ria_scores(weight, torch.ones(3))
    assert (scores[1] == 0).all()
    assert (scores[:, 2] == 0).all()
    assert (scores[[0, 2, 3], :2] > 0).all()


def test_contrast_scores_equal_the_formula_written_as_loops() -> None:
    weight = drawn(6, 5)
    target, contrast = drawn(4, 5, seed=1).square(), drawn(3, 5, seed=2).square()
    s_mt = [sum(float(target[n, j]) for n in range(4)) / 4 for j in range(5)]
    s_code = [sum(float(contrast[n, j]) for n in range(3)) / 3 for j in range(5)]
    expected = looped_products(weight, [math.sqrt(mt * (mt / code)) for mt, code in zip(s_mt, s_code, strict=True)])
    norms, n_silent = contrast_norms(mean_squares(target), mean_squares(contrast))
    assert (norms.dtype, n_silent) == (torch.float32, 0)
    torch.testing.assert_close(wanda_scores(weight, norms).double(), expected, rtol=1e-6, atol=0)


def test_features_silent_in_the_contrast_set_fall_back_to_the_target_and_are_counted() -> None:
    target = torch.tensor([4.0, 9.0, 0.0, 16.0], dtype=torch.float64)
    contrast = torch.tensor([0.0, 4.0, 0.0, 0.01], dtype=torch.float64)
    norms, n_silent = contrast_norms(target, contrast)
    assert n_silent == 2
    torch.testing.assert_close(norms, torch.tensor([2.0, 4.5, 0.0, 160.0]))


@pytest.mark.parametrize("function", [wanda_scores, ria_scores])
def test_impossible_norms_are_an_error(function) -> None:
    for norms in (torch.ones(3), torch.ones(4, 1), torch.ones(1)):
        with refused(ShapeError, expected=(4,)):
            function(drawn(5, 4), norms)
    for value in (-1.0, math.nan, math.inf):
        norms = torch.ones(4)
        norms[2] = value
        with refused(StatisticsError, feature=2):
            function(drawn(5, 4), norms)


def test_other_impossible_arguments_are_errors() -> None:
    with refused(ShapeError, expected=(3, 4), got=(3, 5)):
        wanda_plus_plus_scores(drawn(3, 4), drawn(4).abs(), drawn(3, 5))
    with refused(ShapeError, expected="[out, in]", got=(3,)):
        magnitude_scores(torch.ones(3))
    for power in (0.0, -0.5, math.nan, math.inf):
        with refused(BadInputError, expected="power > 0"):
            ria_scores(drawn(2, 2), torch.ones(2), power=power)
    with refused(ShapeError, expected=(3,), got=(4,)):
        contrast_norms(torch.ones(3), torch.ones(4))
    one, tiny = torch.ones(1, dtype=torch.float64), torch.full((1,), 1e-300, dtype=torch.float64)
    with refused(StatisticsError, feature=0):
        contrast_norms(one, tiny)
    for value in (-1.0, math.nan, math.inf):
        ones, wrong = torch.ones(2, dtype=torch.float64), torch.tensor([1.0, value], dtype=torch.float64)
        for sets in ((ones, wrong), (wrong, ones)):
            with refused(StatisticsError, feature=1):
                contrast_norms(*sets)


def test_magnitude_scores_are_absolute_values_in_float32() -> None:
    weight = torch.tensor([[-2.0, 0.5], [0.0, -0.25]], dtype=torch.bfloat16)
    scores = magnitude_scores(weight)
    assert scores.dtype == torch.float32
    assert scores.tolist() == [[2.0, 0.5], [0.0, 0.25]]


def test_random_scores_depend_on_seed_block_and_layer_only_and_do_not_move_the_global_generator() -> None:
    first = random_scores((8, 9), 0, 3, "fc1")
    torch.manual_seed(99)
    before = torch.random.get_rng_state()
    assert torch.equal(random_scores((8, 9), 0, 3, "fc1"), first)
    assert torch.equal(torch.random.get_rng_state(), before)
    for other in ((1, 3, "fc1"), (0, 4, "fc1"), (0, 3, "fc2")):
        assert not torch.equal(random_scores((8, 9), *other), first)
    assert random_scores((1, 3), 0, 0, "fc1").tolist()[0] == pytest.approx(KNOWN_DRAW, abs=1e-7)


def test_random_scores_are_uniform_between_zero_and_one() -> None:
    scores = random_scores((200, 200), 0, 0, "self_attn.q_proj")
    assert scores.shape == (200, 200)
    assert scores.dtype == torch.float32
    assert 0 <= scores.min() < scores.max() < 1
    counts = torch.histc(scores, bins=10, min=0, max=1)
    assert (counts - 4000).abs().max() < 6 * math.sqrt(4000 * 0.9)
