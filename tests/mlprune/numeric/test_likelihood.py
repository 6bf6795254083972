"""Log-likelihoods against plain loops, and slices against the whole."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import mlprune.numeric.likelihood as likelihood_module
from mlprune.errors import BadInputError, ShapeError
from mlprune.numeric.likelihood import sliced_log_probs, token_log_probs

PROPERTY = settings(max_examples=30, deadline=None, derandomize=True, database=None)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def looped_log_probs(logits: Tensor, targets: Tensor) -> Tensor:
    values = []
    for row, target in zip(logits.double().tolist(), targets.tolist(), strict=True):
        highest = max(row)
        normaliser = highest + math.log(math.fsum(math.exp(logit - highest) for logit in row))
        values.append(row[target] - normaliser)
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_log_probabilities_equal_the_formula_written_as_loops(dtype: torch.dtype) -> None:
    logits, targets = (5 * drawn(6, 50)).to(dtype), torch.tensor([0, 49, 7, 7, 20, 3])
    values = token_log_probs(logits, targets)
    assert values.dtype == torch.float32
    torch.testing.assert_close(values.double(), looped_log_probs(logits, targets), rtol=1e-6, atol=1e-6)


def test_large_half_precision_logits_do_not_overflow() -> None:
    logits = torch.tensor([[6e4, 0.0, -6e4]], dtype=torch.float16)
    assert token_log_probs(logits, torch.tensor([0])).item() == 0.0
    assert token_log_probs(logits, torch.tensor([1])).item() == pytest.approx(-6e4, rel=1e-3)


@PROPERTY
@given(n=st.integers(0, 12), max_rows=st.integers(1, 14), biased=st.booleans())
def test_slices_give_what_the_whole_projection_gives(n: int, max_rows: int, biased: bool) -> None:
    hidden, head = drawn(n, 8), drawn(30, 8, seed=1)
    bias = drawn(30, seed=2) if biased else None
    targets = torch.arange(n) * 2
    whole = hidden @ head.T if bias is None else hidden @ head.T + bias
    sliced = sliced_log_probs(hidden, head, targets, max_rows=max_rows, head_bias=bias)
    assert sliced.dtype == torch.float32
    torch.testing.assert_close(sliced, token_log_probs(whole, targets), rtol=1e-5, atol=1e-5)


def test_logits_of_more_rows_than_allowed_are_never_held(monkeypatch: pytest.MonkeyPatch) -> None:
    heights = []
    project = likelihood_module.linear

    def watched(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        heights.append(hidden.shape[0])
        return project(hidden, weight, bias)

    monkeypatch.setattr(likelihood_module, "linear", watched)
    sliced_log_probs(drawn(10, 4), drawn(9, 4), torch.zeros(10, dtype=torch.int64), max_rows=4)
    assert heights == [4, 4, 2]


@pytest.mark.parametrize("targets", [torch.zeros(2, dtype=torch.int64), torch.zeros(3, 1, dtype=torch.int64)])
def test_targets_of_another_length_are_an_error(targets: Tensor) -> None:
    with pytest.raises(ShapeError, match="targets do not fit"):
        token_log_probs(drawn(3, 5), targets)
    with pytest.raises(ShapeError, match="targets do not fit"):
        sliced_log_probs(drawn(3, 4), drawn(5, 4), targets)


@pytest.mark.parametrize("target", [-100, -1, 5])
def test_a_target_outside_the_vocabulary_is_an_error(target: int) -> None:
    targets = torch.tensor([0, target])
    with pytest.raises(ShapeError, match=f"got={target}"):
        token_log_probs(drawn(2, 5), targets)
    with pytest.raises(ShapeError, match=f"got={target}"):
        sliced_log_probs(drawn(2, 4), drawn(5, 4), targets)


def test_a_head_or_bias_of_another_width_is_an_error() -> None:
    targets = torch.zeros(2, dtype=torch.int64)
    with pytest.raises(ShapeError, match="do not fit the head"):
        sliced_log_probs(drawn(2, 4), drawn(5, 3), targets)
    with pytest.raises(ShapeError, match="bias does not fit"):
        sliced_log_probs(drawn(2, 4), drawn(5, 4), targets, head_bias=drawn(4))


def test_slices_of_no_rows_are_an_error() -> None:
    with pytest.raises(BadInputError, match="max_rows >= 1"):
        sliced_log_probs(drawn(2, 4), drawn(5, 4), torch.zeros(2, dtype=torch.int64), max_rows=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_capped_logits_equal_the_formula_written_as_loops(dtype: torch.dtype) -> None:
    hidden, head, targets = drawn(5, 8).to(dtype), (3 * drawn(30, 8, seed=1)).to(dtype), torch.arange(5) * 7
    logits = [[float(logit) for logit in row] for row in hidden @ head.T]
    capped = torch.tensor([[2.5 * math.tanh(logit / 2.5) for logit in row] for row in logits], dtype=torch.float64)
    found = sliced_log_probs(hidden, head, targets, max_rows=2, softcap=2.5)
    torch.testing.assert_close(found.double(), looped_log_probs(capped, targets), rtol=1e-5, atol=1e-5)
    assert (found - sliced_log_probs(hidden, head, targets)).abs().max() > 0.1


@pytest.mark.parametrize("softcap", [0.0, -1.0, math.nan])
def test_a_cap_that_is_not_positive_is_an_error(softcap: float) -> None:
    with pytest.raises(BadInputError, match="softcap > 0"):
        sliced_log_probs(drawn(2, 4), drawn(5, 4), torch.zeros(2, dtype=torch.int64), softcap=softcap)
