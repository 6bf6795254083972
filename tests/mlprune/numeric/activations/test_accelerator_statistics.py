"""Statistics of an accelerator against plain float64 loops, and without a wait on a pretended GPU."""

import math
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mlprune.errors import ShapeError, StatisticsError
from mlprune.numeric.activations import accelerator_statistics
from mlprune.numeric.activations.accelerator_statistics import (
    MAX_BYTES,
    HostCopies,
    check_counts,
    masked_counts,
    masked_squares,
    masked_sums,
    submit_active_counts,
    submit_demonstration_sums,
    submit_hidden_magnitudes,
    submit_token_sums,
)
from mlprune.numeric.activations.neurons import active_counts
from mlprune.numeric.activations.statistics import CountedTokens, demonstration_sums, hidden_magnitudes, token_sums
from tests.pretended_gpus import pretended_gpus
from tests.refusals import refused

KERNELS = [masked_squares, masked_sums, masked_counts]
SUBMITTED = [
    (submit_demonstration_sums, demonstration_sums),
    (submit_hidden_magnitudes, hidden_magnitudes),
    (submit_token_sums, token_sums),
    (submit_active_counts, active_counts),
]


def random_case(n_rows: int, n_tokens: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Activations with NaN at the tokens that do not count, and the mask of those that do."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(n_rows, n_tokens, generator=generator) < 0.7
    values = torch.randn(n_rows, n_tokens, 5, generator=generator)
    return values.masked_fill(~mask[..., None], math.nan), mask


def counted_values(values: Tensor, mask: Tensor, *, row: int, feature: int) -> list[float]:
    return [float(values[row, token, feature]) for token in range(values.shape[1]) if mask[row, token]]


@settings(deadline=None, max_examples=25)
@given(
    n_rows=st.integers(1, 4),
    n_tokens=st.integers(1, 7),
    max_entries=st.integers(1, 90),
    seed=st.integers(0, 99),
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
)
def test_reductions_equal_plain_float64_loops_for_any_division_into_pieces(
    n_rows: int, n_tokens: int, max_entries: int, seed: int, dtype: torch.dtype
) -> None:
    values, mask = random_case(n_rows, n_tokens, seed=seed)
    values, counted = values.to(dtype), CountedTokens(mask)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accelerator_statistics, "MAX_ENTRIES", max_entries)
        squares, sums = masked_squares(values, counted), masked_sums(values, counted)
    counts = masked_counts(values, counted)
    for feature in range(5):
        columns = [counted_values(values, mask, row=row, feature=feature) for row in range(n_rows)]
        for row, column in enumerate(columns):
            expected = math.fsum(value**2 for value in column)
            assert float(squares[row, feature]) == pytest.approx(expected, rel=1e-14, abs=0)
        every = [value for column in columns for value in column]
        assert float(sums[feature]) == pytest.approx(math.fsum(every), rel=1e-12, abs=1e-14)
        assert int(counts[feature]) == sum(value > 0 for value in every)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_mask_that_does_not_fit_is_an_error(kernel) -> None:
    with refused(ShapeError, expected="bool (2, 3)", got="torch.bool (2, 4)"):
        kernel(torch.ones(2, 3, 4), CountedTokens(torch.ones(2, 4, dtype=torch.bool)))


@pytest.mark.parametrize("kernel", [masked_squares, masked_sums])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_counted_value_that_is_not_finite_shows_in_the_result(kernel, value: float) -> None:
    values, mask = random_case(2, 3)
    mask[1, 2], values[1, 2] = True, 1.0
    values[1, 2, 3] = value
    assert (~kernel(values, CountedTokens(mask)).isfinite()).nonzero()[:, -1].tolist() == [3]


def test_counts_of_activations_that_are_not_finite_are_an_error() -> None:
    values, mask = random_case(2, 3)
    check_counts(masked_counts(values, CountedTokens(mask)))
    mask[0, 1] = True
    values[0, 1, 2] = math.nan
    with pytest.raises(StatisticsError):
        check_counts(masked_counts(values, CountedTokens(mask)))


@pytest.mark.parametrize(("submit", "on_cpu"), SUBMITTED)
def test_an_accelerator_gives_the_bits_of_the_cpu_in_few_kernels_without_a_wait(submit, on_cpu) -> None:
    values, mask = random_case(3, 6)
    expected = on_cpu(values, mask)
    assert torch.equal(submit(values, CountedTokens(mask)), expected)
    with pretended_gpus() as ledger:
        on_gpu, counted = values.to("cuda:0"), CountedTokens(mask)
        ledger.clear()
        submit(on_gpu, counted)
        result = submit(on_gpu, counted)
        assert ledger.waits == 0
        assert ledger.uploads == 1  # the mask, once
        assert ledger.operations <= 2 * 11
        assert result.device.type == "cuda"
        assert torch.equal(result.cpu(), expected)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_gpu_sums_like_the_cpu(dtype: torch.dtype) -> None:
    values, mask = random_case(8, 700)
    values = values.to(dtype)
    for submit, on_cpu in SUBMITTED:
        found = submit(values.cuda(), CountedTokens(mask)).cpu()
        torch.testing.assert_close(found, on_cpu(values, mask), rtol=2e-7, atol=1e-10)


TENSORS = {
    "sums": torch.arange(6.0).reshape(2, 3),
    "on the cpu": torch.ones(2),
    "wide": torch.arange(4, dtype=torch.float64),
    "more sums": torch.arange(5.0).reshape(1, 5),
    "empty": torch.empty(0, 7),
}


def test_tensors_of_one_device_and_dtype_are_copied_with_one_wait_and_keep_their_order() -> None:
    with pretended_gpus(2) as ledger:
        copies = HostCopies[str]()
        for key, tensor in TENSORS.items():
            device = "cpu" if key == "on the cpu" else "cuda:1" if key == "empty" else "cuda:0"
            copies.add(key, tensor.to(device))
        ledger.clear()
        taken = copies.take()
        assert ledger.waits == 3  # float32 and float64 of the first GPU, float32 of the second
        assert copies.take() == {}
    assert list(taken) == list(TENSORS)
    assert all(torch.equal(taken[key], tensor) for key, tensor in TENSORS.items())


def test_a_copied_tensor_is_pickled_without_its_neighbours() -> None:
    with pretended_gpus():
        copies = HostCopies[int]()
        for key in range(20):
            copies.add(key, torch.zeros(1000, device="cuda:0"))
        taken = copies.take()
    assert len(pickle.dumps(taken[3])) < 2 * taken[3].nbytes


def test_only_tensors_on_accelerators_make_copies_large() -> None:
    with pretended_gpus():
        copies = HostCopies[int]()
        copies.add(0, torch.zeros(MAX_BYTES))
        copies.add(1, torch.zeros(MAX_BYTES // 4 - 1, device="cuda:0"))
        assert not copies.is_large
        copies.add(2, torch.zeros(1, device="cuda:0"))
        assert copies.is_large
        copies.take()
        assert not copies.is_large
