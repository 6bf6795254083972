"""Rounding to nearest, compared with its formula as float64 loops, and properties of its results."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mlprune.numeric.weights import quantisation
from mlprune.numeric.weights.quantisation import Quantisation, quantise, quantised

PROPERTY = settings(max_examples=25, deadline=None, derandomize=True, database=None)
CASES = st.builds(
    lambda seed, rows, inputs, share, bits, group: (
        drawn(rows, inputs, seed=seed, share=share),
        Quantisation(bits, group),
    ),
    st.integers(0, 10**6),
    st.integers(1, 5),
    st.integers(1, 70),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.sampled_from([2, 4, 8]),
    st.sampled_from([1, 8, 32, 128]),
)


def drawn(*shape: int, seed: int = 0, share: float = 0.0) -> Tensor:
    """Draw weights of which a share is 0."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator) * (torch.rand(shape, generator=generator) >= share)


def looped(
    weight: Tensor, quantisation: Quantisation
) -> tuple[list[list[float]], list[list[float]], list[list[float]]]:
    """Return the rounded weights by the formula, the steps, and the distances of w / s from a tie."""
    highest = 2**quantisation.bits - 1
    rounded, steps, distances = [], [], []
    for row in weight.double().tolist():
        values, step_of, distance_of = [], [], []
        for start in range(0, len(row), quantisation.group):
            group = row[start : start + quantisation.group]
            low, high = min(*group, 0.0, 0.0), max(*group, 0.0, 0.0)
            step = (high - low) / highest or 1.0
            zero = round(-low / step)
            for value in group:
                values.append(step * min(max(round(value / step), -zero), highest - zero))
                step_of.append(step)
                distance_of.append(abs(abs(value / step) % 1 - 0.5))
        rounded.append(values)
        steps.append(step_of)
        distances.append(distance_of)
    return rounded, steps, distances


@PROPERTY
@given(CASES)
def test_the_rounded_weights_are_those_of_the_formula_except_at_ties(case: tuple[Tensor, Quantisation]) -> None:
    weight, how = case
    found, (expected, steps, distances) = quantised(weight, how).double(), looped(weight, how)
    is_tie = torch.tensor(distances) < 1e-4
    difference = (found - torch.tensor(expected, dtype=torch.float64)).abs()
    assert (difference <= 1e-6 * found.abs())[~is_tie].all()
    assert (difference <= 1.0001 * torch.tensor(steps, dtype=torch.float64)).all()


@PROPERTY
@given(CASES)
def test_an_error_is_at_most_half_a_step_and_zeros_stay(case: tuple[Tensor, Quantisation]) -> None:
    weight, how = case
    found, (_, steps, _) = quantised(weight, how), looped(weight, how)
    assert ((found - weight).abs().double() <= torch.tensor(steps, dtype=torch.float64) * (0.5 + 1e-4)).all()
    assert not found[weight == 0].any()


@PROPERTY
@given(CASES)
def test_rounding_again_changes_nothing_but_the_last_bits(case: tuple[Tensor, Quantisation]) -> None:
    weight, how = case
    once = quantised(weight, how)
    assert torch.allclose(quantised(once, how), once, rtol=1e-6, atol=0)


def test_sixteen_bits_are_nearly_exact() -> None:
    weight = drawn(8, 300)
    error = (quantised(weight, Quantisation(16)) - weight).norm() / weight.norm()
    assert 0 < float(error) < 1e-4


def test_the_last_group_of_a_row_is_shorter() -> None:
    weight = drawn(3, 20)
    expected = torch.cat([quantised(part, Quantisation(4, 8)) for part in weight.split(8, dim=1)], dim=1)
    assert torch.equal(quantised(weight, Quantisation(4, 8)), expected)
    assert torch.equal(quantised(weight, Quantisation(4, 100)), quantised(weight, Quantisation(4, 20)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_dtypes_are_rounded_in_float32_and_rounded_back(dtype: torch.dtype) -> None:
    weight = drawn(4, 40).to(dtype)
    assert torch.equal(quantised(weight, Quantisation(4, 16)), quantised(weight.float(), Quantisation(4, 16)).to(dtype))


def test_neither_chunks_nor_the_memory_layout_change_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, how = drawn(37, 50), Quantisation(4, 16)
    expected = quantised(weight, how)
    monkeypatch.setattr(quantisation, "_ROUNDED_TOGETHER", 120)
    transposed = weight.t().contiguous().t()
    quantise(transposed, how)
    assert torch.equal(transposed, expected)
    assert torch.equal(quantised(weight, how), expected)


def test_a_group_with_weights_of_one_sign_keeps_its_extreme_and_zero_is_a_level() -> None:
    found = quantised(torch.tensor([[15.0, 7.5, 3.2, 0.0]]), Quantisation(4, 4))
    assert found.tolist() == [[15.0, 8.0, 3.0, 0.0]], "7.5 steps are rounded to the even number"
