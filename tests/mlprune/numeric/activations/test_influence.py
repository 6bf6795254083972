"""Block influence, compared with plain float64 loops."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mlprune.errors import ShapeError, StatisticsError
from mlprune.numeric.activations import influence
from mlprune.numeric.activations.influence import check_influence, influence_sums
from mlprune.numeric.activations.statistics import CountedTokens
from tests.pretended_gpus import pretended_gpus
from tests.refusals import refused


def states_of(seed: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    """States of three demonstrations before and after a block, with NaN at tokens that do not count, and the mask."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(3, 6, generator=generator) < 0.7
    before, after = (torch.randn(3, 6, 5, generator=generator).to(dtype) for _ in range(2))
    return *(states.masked_fill(~mask[..., None], math.nan) for states in (before, after)), mask


def by_loops(before: Tensor, after: Tensor, mask: Tensor) -> list[float]:
    sums = []
    for row in range(len(mask)):
        terms = []
        for token in mask[row].nonzero().flatten().tolist():
            x, y = before[row, token].tolist(), after[row, token].tolist()
            lengths = math.hypot(*x) * math.hypot(*y)
            terms.append(1 - sum(a * b for a, b in zip(x, y, strict=True)) / lengths)
        sums.append(math.fsum(terms))
    return sums


@settings(deadline=None, max_examples=20)
@given(
    seed=st.integers(0, 99),
    entries=st.integers(1, 99),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
)
def test_influence_equals_plain_float64_loops_for_any_division_into_pieces(
    seed: int, entries: int, dtype: torch.dtype
) -> None:
    before, after, mask = states_of(seed, dtype)
    whole = influence_sums(before, after, counted=CountedTokens(mask))
    assert whole.dtype == torch.float64
    assert whole.tolist() == pytest.approx(by_loops(before, after, mask), abs=1e-12)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(influence, "CPU_ENTRIES", entries)
        assert torch.equal(influence_sums(before, after, counted=CountedTokens(mask)), whole)


def test_a_block_without_effect_has_influence_0_exactly_and_so_has_one_that_rescales() -> None:
    before, _, mask = states_of(1)
    counted = CountedTokens(mask)
    assert influence_sums(before, before.clone(), counted=counted).tolist() == [0.0] * 3
    assert influence_sums(before, 4 * before, counted=counted).tolist() == [0.0] * 3
    n_tokens = mask.sum(dim=1).double()
    torch.testing.assert_close(influence_sums(before, -before, counted=counted), 2 * n_tokens)


def test_a_state_of_zeros_has_the_direction_of_zeros_only() -> None:
    zeros, counted = torch.zeros(1, 2, 5), CountedTokens(torch.ones(1, 2, dtype=torch.bool))
    assert influence_sums(zeros, zeros, counted=counted).tolist() == [0.0]
    assert influence_sums(zeros, torch.ones(1, 2, 5), counted=counted).tolist() == [2.0]


def test_a_pretended_gpu_computes_the_same_bits_without_a_wait_and_few_kernels() -> None:
    before, after, mask = states_of(2)
    expected = influence_sums(before, after, counted=CountedTokens(mask))
    with pretended_gpus() as ledger:
        on_gpu = before.to("cuda:0"), after.to("cuda:0")
        ledger.clear()
        sums = influence_sums(*on_gpu, counted=CountedTokens(mask))
        assert ledger.waits == 0, ledger.by_line()
        assert ledger.kernels <= 26, ledger.by_line()
        assert torch.equal(sums.cpu(), expected)


def test_states_that_are_not_finite_or_do_not_fit_are_errors() -> None:
    before, after, mask = states_of(3)
    mask[1, 2] = True
    after[1, 2] = math.inf
    with refused(StatisticsError, row_in_batch=1):
        influence_sums(before.nan_to_num(), after, counted=CountedTokens(mask))
    with pytest.raises(StatisticsError):
        check_influence(torch.tensor([0.0, math.nan]))
    with pytest.raises(ShapeError):
        influence_sums(before, after[..., :4], counted=CountedTokens(mask))
