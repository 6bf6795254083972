"""Statistics of the CPU and of accelerators against plain float64 loops, and without a wait on a pretended GPU."""

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
    submit_routed_counts,
    submit_token_sums,
)
from mlprune.numeric.activations.statistics import (
    CountedTokens,
    RunningTotal,
    TokenGroups,
    active_counts,
    demonstration_sums,
    feature_norms,
    hidden_magnitudes,
    mean_squares,
    token_sums,
)
from tests.drawn import drawn
from tests.pretended_gpus import pretended_gpus
from tests.refusals import refused

PROPERTY = settings(max_examples=25, deadline=None, derandomize=True, database=None)
MASK = torch.tensor([[True, False, True], [False, False, False], [True, True, True]])
VALUES = torch.arange(18.0).reshape(3, 3, 2)
ROWS = [[[0.0, 1.0], [4.0, 5.0]], [], [[12.0, 13.0], [14.0, 15.0], [16.0, 17.0]]]


def test_rows_are_the_counted_tokens_of_each_demonstration() -> None:
    assert [rows.tolist() for rows in CountedTokens(MASK).rows_of(VALUES)] == ROWS
    assert CountedTokens(MASK).ignored_on(torch.device("cpu")).squeeze(2).tolist() == (~MASK).tolist()


def test_each_device_gets_the_mask_and_the_positions_once_and_nothing_waits() -> None:
    with pretended_gpus(2) as ledger:
        counted = CountedTokens(MASK)
        on_gpus = [VALUES.to(f"cuda:{number}") for number in range(2)]
        ledger.clear()
        for values in on_gpus * 3:
            assert counted.ignored_on(values.device).device == values.device
            rows = counted.rows_of(values)
        assert ledger.uploads == 4
        assert ledger.waits == 0
        assert [row.tolist() for row in rows] == ROWS


def test_tokens_can_be_pickled_after_their_copies_on_devices_are_dropped() -> None:
    with pretended_gpus():
        counted = CountedTokens(MASK)
        counted.rows_of(VALUES.to("cuda:0"))
        counted.ignored_on(torch.device("cuda:0"))
        counted.free_devices()
        assert torch.equal(pickle.loads(pickle.dumps(counted)).mask, MASK)


def counted(lengths: list[int], seq: int) -> Tensor:
    return torch.arange(seq)[None, :] < torch.tensor(lengths)[:, None]


def looped_sums(inputs: Tensor, token_mask: Tensor) -> list[list[float]]:
    batch, seq, d_in = inputs.shape
    return [
        [sum(float(inputs[n, t, j]) ** 2 for t in range(seq) if token_mask[n, t]) for j in range(d_in)]
        for n in range(batch)
    ]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_sums_equal_the_formula_written_as_loops(dtype: torch.dtype) -> None:
    inputs, mask = (drawn(3, 7, 5) * 100).to(dtype), counted([7, 2, 0], 7)
    sums = demonstration_sums(inputs, mask)
    assert sums.dtype == torch.float32
    torch.testing.assert_close(sums.double(), torch.tensor(looped_sums(inputs, mask)).double(), rtol=2e-7, atol=0)


def test_many_small_squares_added_to_a_large_one_are_not_lost() -> None:
    inputs = torch.cat([torch.full((1, 1, 1), 4096.0), torch.ones(1, 4096, 1)], dim=1)
    assert demonstration_sums(inputs, counted([4097], 4097)).item() == 4096.0**2 + 4096


def test_long_demonstrations_are_summed_in_chunks_to_the_sum_of_all_their_tokens() -> None:
    inputs = drawn(1, 1000, 900)
    torch.testing.assert_close(
        demonstration_sums(inputs, counted([1000], 1000)).double(), inputs.double().square().sum(1), rtol=1e-7, atol=0
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_long_demonstrations_give_the_same_bits_alone_and_with_other_tokens_between_theirs(dtype: torch.dtype) -> None:
    inputs = drawn(2, 900, 700).to(dtype)
    scattered = torch.rand(2, 900, generator=torch.Generator().manual_seed(3)) < 0.7
    together = demonstration_sums(inputs.masked_fill(~scattered[..., None], math.nan), scattered)
    for row in (0, 1):
        alone = inputs[row][scattered[row]][None]
        assert torch.equal(demonstration_sums(alone, torch.ones(alone.shape[:2], dtype=torch.bool))[0], together[row])


@PROPERTY
@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5), pad=st.integers(0, 6), left=st.booleans())
def test_a_demonstration_gives_the_same_bits_alone_and_in_any_padded_batch(
    lengths: list[int], pad: int, left: bool
) -> None:
    alone = [drawn(1, n_tokens, 6, seed=row) for row, n_tokens in enumerate(lengths)]
    seq = max(lengths) + pad
    batch = torch.full((len(lengths), seq, 6), math.nan)
    mask = torch.zeros(len(lengths), seq, dtype=torch.bool)
    for row, demonstration in enumerate(alone):
        n_tokens = demonstration.shape[1]
        place = slice(seq - n_tokens, seq) if left else slice(0, n_tokens)
        batch[row, place] = demonstration[0]
        mask[row, place] = True
    one_by_one = [demonstration_sums(x, torch.ones(x.shape[:2], dtype=torch.bool)) for x in alone]
    assert torch.equal(demonstration_sums(batch, mask), torch.cat(one_by_one))


@pytest.mark.parametrize("filler", [math.nan, math.inf, 1e30])
def test_the_values_of_padding_tokens_do_not_change_statistics(filler: float) -> None:
    inputs, mask = drawn(2, 6, 4), counted([3, 6], 6)
    clean = demonstration_sums(inputs, mask)
    inputs[~mask] = filler
    assert torch.equal(demonstration_sums(inputs, mask), clean)
    assert torch.isfinite(hidden_magnitudes(inputs, mask)).all()


@pytest.mark.parametrize("function", [demonstration_sums, hidden_magnitudes])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_non_finite_counted_activation_is_an_error_with_its_position(function, value: float) -> None:
    inputs = drawn(2, 3, 4)
    inputs[1, 2, 3] = value
    with refused(StatisticsError, feature=3, row_in_batch=1):
        function(inputs, counted([3, 3], 3))


def test_a_sum_beyond_float32_is_an_error() -> None:
    with refused(StatisticsError, feature=0, row_in_batch=0):
        demonstration_sums(torch.full((1, 1, 1), 1e20), counted([1], 1))


@pytest.mark.parametrize("function", [demonstration_sums, hidden_magnitudes, token_sums])
@pytest.mark.parametrize(
    "mask", [torch.ones(2, 4, dtype=torch.bool), torch.ones(2, 3, dtype=torch.int64), torch.ones(2, dtype=torch.bool)]
)
def test_a_mask_that_does_not_fit_is_an_error(function, mask: Tensor) -> None:
    with refused(ShapeError, expected="bool (2, 3)"):
        function(drawn(2, 3, 4), mask)


def test_token_sums_equal_the_formula_written_as_loops() -> None:
    hidden, mask = drawn(3, 5, 4), counted([5, 2, 0], 5)
    sums = token_sums(hidden, mask)
    assert sums.dtype == torch.float64
    for feature in range(4):
        expected = sum(
            float(hidden[row, token, feature]) for row in range(3) for token in range(5) if bool(mask[row, token])
        )
        assert float(sums[feature]) == pytest.approx(expected, rel=1e-12)
    hidden[2] = math.nan
    assert torch.equal(token_sums(hidden, mask), sums)
    hidden[1, 1, 2] = math.inf
    with refused(StatisticsError, feature=2):
        token_sums(hidden, mask)


def test_hidden_magnitudes_equal_the_formula_written_as_loops() -> None:
    hidden, mask = drawn(3, 5, 4), counted([5, 1, 3], 5)
    expected = [[math.sqrt(value) for value in row] for row in looped_sums(hidden, mask)]
    magnitudes = hidden_magnitudes(hidden, mask)
    assert magnitudes.dtype == torch.float32
    torch.testing.assert_close(magnitudes.double(), torch.tensor(expected).double(), rtol=2e-7, atol=0)


def test_hidden_magnitudes_whose_square_is_beyond_float32_are_finite() -> None:
    magnitude = hidden_magnitudes(torch.full((1, 1, 1), 1e25), counted([1], 1))
    assert magnitude.item() == pytest.approx(1e25, rel=1e-6)


def test_norms_and_mean_squares_equal_the_formula_written_as_loops() -> None:
    sum_sq = drawn(9, 5).square()
    totals = [sum(float(sum_sq[n, j]) for n in range(9)) for j in range(5)]
    norms, means = feature_norms(sum_sq), mean_squares(sum_sq)
    assert (norms.dtype, means.dtype) == (torch.float32, torch.float64)
    torch.testing.assert_close(norms.double(), torch.tensor(totals).double().sqrt(), rtol=1e-7, atol=0)
    assert means.tolist() == [total / 9 for total in totals]  # the same additions in the same order: the same bits


def test_weighted_norms_and_mean_squares_equal_the_formula_written_as_loops() -> None:
    sum_sq, weights = drawn(6, 4).square(), torch.tensor([0.5, 2.0, 0.0, 1.0, 3.0, 0.25], dtype=torch.float64)
    totals = [sum(float(weights[n]) * float(sum_sq[n, j]) for n in range(6)) for j in range(4)]
    expected = torch.tensor(totals, dtype=torch.float64)
    torch.testing.assert_close(feature_norms(sum_sq, weights).double(), expected.sqrt(), rtol=1e-7, atol=0)
    torch.testing.assert_close(mean_squares(sum_sq, weights), expected / 6.75, rtol=1e-15, atol=0)


@pytest.mark.parametrize("function", [feature_norms, mean_squares])
def test_weights_of_one_equal_no_weights_zeros_omit_and_counts_repeat(function) -> None:
    sum_sq = drawn(5, 7).square()
    assert torch.equal(function(sum_sq, torch.ones(5, dtype=torch.float64)), function(sum_sq))
    subset = torch.tensor([0.0, 1, 0, 1, 1], dtype=torch.float64)
    assert torch.equal(function(sum_sq, subset), function(sum_sq[subset > 0]))
    counts = torch.tensor([2, 0, 1, 2, 0])
    repeated = sum_sq.repeat_interleave(counts, dim=0)
    torch.testing.assert_close(function(sum_sq, counts.double()), function(repeated), rtol=1e-7, atol=0)


@pytest.mark.parametrize("function", [feature_norms, mean_squares])
def test_sums_and_weights_that_do_not_fit_or_are_impossible_are_errors_with_their_position(function) -> None:
    for value in (-1e-3, math.nan, math.inf):
        sum_sq = torch.ones(3, 4)
        sum_sq[2, 1] = value
        with refused(StatisticsError, feature=1, demonstration=2):
            function(sum_sq)
        with refused(StatisticsError, demonstration=1):
            function(torch.ones(2, 3), torch.tensor([1.0, value], dtype=torch.float64))
    with pytest.raises(StatisticsError):
        function(torch.ones(0, 4))
    with refused(ShapeError, expected="[n, in]", got=(4,)):
        function(torch.ones(4))
    with refused(ShapeError, expected=(2,), got=(3,)):
        function(torch.ones(2, 3), torch.ones(3))
    with refused(StatisticsError, n=2):
        function(torch.ones(2, 3), torch.zeros(2))


def test_the_number_of_threads_does_not_change_a_bit() -> None:
    inputs, mask = drawn(2, 200, 301), counted([200, 130], 200)
    n_threads = torch.get_num_threads()
    try:
        results = []
        for n in (1, 2):
            torch.set_num_threads(n)
            results.append(demonstration_sums(inputs, mask))
    finally:
        torch.set_num_threads(n_threads)
    assert torch.equal(*results)


@PROPERTY
@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.booleans(), st.integers(0, 9))
def test_a_running_total_does_not_depend_on_the_pieces(pieces: list[int], is_weighted: bool, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    sum_sq = torch.rand(sum(pieces), 3, generator=generator) * 10.0 ** torch.randint(-20, 20, (3,), generator=generator)
    weights = torch.rand(sum(pieces), dtype=torch.float64, generator=generator) if is_weighted else None
    total = RunningTotal(len(sum_sq), weights)
    for piece in sum_sq.split(pieces):
        total.add(piece)
    assert torch.equal(total.norms(), feature_norms(sum_sq, weights))
    assert torch.equal(total.mean_squares(), mean_squares(sum_sq, weights))


def test_a_running_total_with_missing_or_too_many_demonstrations_is_an_error() -> None:
    total = RunningTotal(3)
    total.add(torch.ones(2, 4))
    with refused(StatisticsError, expected=3, got=2):
        total.norms()
    for wrong in (torch.ones(2, 4), torch.ones(1, 5), torch.ones(4)):
        with pytest.raises(ShapeError):
            total.add(wrong)
    with refused(StatisticsError, feature=1, got=-1.0) as caught:
        total.add(torch.tensor([[1.0, -1.0, 1.0, 1.0]]))
    assert caught.value.context == {"demonstration": 2, "feature": 1, "got": -1.0}


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


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_routed_tokens_are_counted_by_demonstration_and_group_as_in_plain_loops(device: str) -> None:
    generator = torch.Generator().manual_seed(0)
    mask = torch.rand(3, 7, generator=generator) < 0.7
    groups = torch.randint(4, (3, 7), generator=generator)
    rows = torch.randperm(21, generator=generator)[:15]
    expected = torch.zeros(3, 5)
    for row in rows.tolist():
        if mask[row // 7, row % 7]:
            expected[row // 7, groups[row // 7, row % 7]] += 1
    with pretended_gpus(1):
        counted = CountedTokens(mask, TokenGroups(groups, 5))
        counts = submit_routed_counts(rows.to(device), counted)
        assert counts.device == torch.device(device)
        assert torch.equal(counts.cpu(), expected)
        assert not submit_routed_counts(rows[:0].to(device), counted).cpu().any()


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_mask_that_does_not_fit_is_an_error_of_every_kernel(kernel) -> None:
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


def signed_activations(*shape: int) -> torch.Tensor:
    """Activations of both signs, some exactly zero."""
    return torch.randint(-2, 3, shape, generator=torch.Generator().manual_seed(1)).float() / 7


def test_counts_of_firing_neurons_equal_plain_loops_over_the_counted_tokens() -> None:
    values, mask = signed_activations(3, 5, 4), torch.rand(3, 5, generator=torch.Generator().manual_seed(2)) > 0.4
    expected = [
        sum(float(values[n, t, j]) > 0.0 for n in range(3) for t in range(5) if bool(mask[n, t])) for j in range(4)
    ]
    result = active_counts(values, mask)
    assert result.dtype == torch.int64
    assert result.tolist() == expected
    assert 0 < sum(expected) < 4 * int(mask.sum())


def test_counts_of_parts_add_up_and_padding_has_no_part() -> None:
    values, mask = signed_activations(4, 3, 6), torch.ones(4, 3, dtype=torch.bool)
    mask[1, 2] = False
    values[1, 2] = torch.nan
    both = active_counts(values[:2], mask[:2]) + active_counts(values[2:], mask[2:])
    assert torch.equal(active_counts(values, mask), both)


def test_mismatched_shapes_and_non_finite_activations_are_refused() -> None:
    values, mask = signed_activations(2, 3, 4), torch.ones(2, 3, dtype=torch.bool)
    with refused(ShapeError, expected=(2, 3), got="torch.bool (2, 2)"):
        active_counts(values, mask[:, :2])
    with refused(ShapeError, expected=(2, 3), got="torch.float32 (2, 3)"):
        active_counts(values, mask.float())
    values[0, 1, 2] = torch.inf
    with pytest.raises(StatisticsError):
        active_counts(values, mask)
