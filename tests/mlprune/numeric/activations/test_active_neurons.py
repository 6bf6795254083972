"""Counts of firing neurons, compared with plain loops."""

import pytest
import torch

from mlprune.errors import ShapeError, StatisticsError
from mlprune.numeric.activations.active_neurons import active_counts, removed_after, removed_before


def activations(*shape: int) -> torch.Tensor:
    """Activations of both signs, some exactly zero."""
    return torch.randint(-2, 3, shape, generator=torch.Generator().manual_seed(1)).float() / 7


def test_counts_equal_plain_loops_over_the_counted_tokens() -> None:
    values, mask = activations(3, 5, 4), torch.rand(3, 5, generator=torch.Generator().manual_seed(2)) > 0.4
    expected = [
        sum(float(values[n, t, j]) > 0.0 for n in range(3) for t in range(5) if bool(mask[n, t])) for j in range(4)
    ]
    result = active_counts(values, mask)
    assert result.dtype == torch.int64
    assert result.tolist() == expected
    assert 0 < sum(expected) < 4 * int(mask.sum())


def test_counts_of_parts_add_up_and_padding_has_no_part() -> None:
    values, mask = activations(4, 3, 6), torch.ones(4, 3, dtype=torch.bool)
    mask[1, 2] = False
    values[1, 2] = torch.nan
    both = active_counts(values[:2], mask[:2]) + active_counts(values[2:], mask[2:])
    assert torch.equal(active_counts(values, mask), both)


def test_no_token_counts_nothing() -> None:
    assert active_counts(activations(1, 2, 3), torch.zeros(1, 2, dtype=torch.bool)).tolist() == [0, 0, 0]


def test_mismatched_shapes_and_non_finite_activations_are_refused() -> None:
    values, mask = activations(2, 3, 4), torch.ones(2, 3, dtype=torch.bool)
    with pytest.raises(ShapeError, match="does not fit"):
        active_counts(values, mask[:, :2])
    with pytest.raises(ShapeError, match="does not fit"):
        active_counts(values, mask.float())
    values[0, 1, 2] = torch.inf
    with pytest.raises(StatisticsError, match="not finite"):
        active_counts(values, mask)


@pytest.mark.parametrize("n_layers", [1, 2])
def test_removed_weights_of_a_neuron_are_those_of_its_rows_and_of_its_column(n_layers: int) -> None:
    generator = torch.Generator().manual_seed(3)
    before = torch.rand(n_layers * 5, 7, generator=generator) > 0.6
    after = torch.rand(4, 5, generator=generator) > 0.6
    rows = [sum(bool(before[r, c]) for r in range(len(before)) if r % 5 == j for c in range(7)) for j in range(5)]
    columns = [sum(bool(after[r, j]) for r in range(4)) for j in range(5)]
    assert removed_before(before, 5).tolist() == rows
    assert removed_after(after).tolist() == columns
    with pytest.raises(ShapeError, match="does not fit the neurons"):
        removed_before(before, 4)
