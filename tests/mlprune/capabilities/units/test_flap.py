"""FLAP against its formula as plain float64 loops, and planted constant inputs."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mlprune.capabilities.units.flap import UnitGroup, compensated_bias, feature_scores, removed_units, unit_scores
from mlprune.errors import BadInputError, ShapeError, StatisticsError
from mlprune.numeric.weights.layer_inputs import FeatureMoments


def moments_of(inputs: Tensor) -> FeatureMoments:
    """Moments of inputs [tokens, in], all of one demonstration."""
    wide = inputs.to(torch.float64)
    n = float(inputs.shape[0])
    return FeatureMoments(1.0, n, wide.sum(dim=0), wide.square().sum(dim=0), wide.var(dim=0, correction=0))


def random_layer(seed: int, *, n_tokens: int = 9, n_out: int = 4, n_in: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(n_tokens, n_in, generator=generator) * torch.rand(n_in, generator=generator) + 0.5
    return torch.randn(n_out, n_in, generator=generator), inputs


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_scores_of_units_are_those_of_the_formula(power: float) -> None:
    weight, inputs = random_layer(3)
    owners, w, x = [0, 0, 1, 1, 2, 2], weight.double().numpy(), inputs.double().numpy()
    features = []
    for j in range(6):
        mean = sum(x[t, j] for t in range(9)) / 9
        variance = sum((x[t, j] - mean) ** 2 for t in range(9)) / 9
        features.append((variance * sum(w[i, j] ** 2 for i in range(4))) ** power)
    center = sum(features) / 6
    std = math.sqrt(sum((score - center) ** 2 for score in features) / 5)
    expected = [sum((features[j] - center) / std for j in range(6) if owners[j] == unit) / 2 for unit in range(3)]
    scores = feature_scores(weight, moments_of(inputs))
    units = unit_scores(scores, torch.tensor(owners), n_units=3, power=power)
    np.testing.assert_allclose(units.numpy(), expected, rtol=1e-9)


def test_a_bias_replaces_removed_inputs_by_their_means() -> None:
    weight, inputs = random_layer(5)
    bias, removed = torch.arange(4.0), torch.tensor([True, False, False, True, False, False])
    new = compensated_bias(weight, bias, removed=removed, moments=moments_of(inputs))
    for i in range(4):
        mean = [float(inputs[:, j].double().mean()) for j in range(6)]
        expected = float(bias[i]) + sum(float(weight[i, j]) * mean[j] for j in (0, 3))
        assert float(new[i]) == pytest.approx(expected, rel=1e-6)
    assert new.dtype == bias.dtype


def test_outputs_stay_the_same_if_the_removed_inputs_are_constant() -> None:
    weight, inputs = random_layer(7)
    weight, inputs = weight.double(), inputs.double()
    inputs[:, 2], inputs[:, 4] = 0.75, -2.0
    bias, removed = torch.ones(4, dtype=torch.float64), torch.tensor([False, False, True, False, True, False])
    dense = inputs @ weight.T + bias
    new = compensated_bias(weight, bias, removed=removed, moments=moments_of(inputs))
    pruned = inputs @ weight.masked_fill(removed, 0).T + new
    torch.testing.assert_close(pruned, dense, rtol=1e-12, atol=1e-12)
    scores = feature_scores(weight, moments_of(inputs))
    assert scores.argsort()[:2].sort().values.tolist() == [2, 4]


def test_nothing_removed_leaves_the_bias_bit_for_bit() -> None:
    weight, inputs = random_layer(1)
    bias = torch.randn(4).to(torch.bfloat16)
    new = compensated_bias(weight, bias, removed=torch.zeros(6, dtype=torch.bool), moments=moments_of(inputs))
    assert torch.equal(new, bias)


def test_units_of_equal_features_have_equal_scores() -> None:
    assert unit_scores(torch.full((4,), 3.0), torch.tensor([0, 0, 1, 1]), n_units=2).tolist() == [0, 0]
    assert unit_scores(torch.tensor([3.0]), torch.tensor([0]), n_units=1).tolist() == [0]


def test_statistics_that_do_not_fit_are_refused() -> None:
    weight, inputs = random_layer(1)
    moments = moments_of(inputs)
    with pytest.raises(ShapeError):
        feature_scores(weight[:, 1:], moments)
    with pytest.raises(ShapeError):
        compensated_bias(weight, torch.zeros(4), removed=torch.ones(5, dtype=torch.bool), moments=moments)
    with pytest.raises(ShapeError):
        unit_scores(torch.zeros(4), torch.zeros(3, dtype=torch.int64), n_units=1)
    with pytest.raises(StatisticsError):
        feature_scores(weight, FeatureMoments(0.0, 0.0, moments.sums, moments.squares, moments.within_variances))
    for name in ("sums", "squares"):
        broken = {"sums": moments.sums, "squares": moments.squares, name: moments.sums * torch.nan}
        with pytest.raises(StatisticsError):
            feature_scores(weight, FeatureMoments(1.0, 9.0, **broken, within_variances=moments.within_variances))


def groups_of(seed: int, *, blocks: int = 3, heads: int = 4, neurons: int = 12) -> list[UnitGroup]:
    generator = torch.Generator().manual_seed(seed)
    sizes = (("heads", heads, 40), ("neurons", neurons, 7))
    return [
        UnitGroup(block, kind, torch.randn(n, generator=generator, dtype=torch.float64), n_weights)
        for block in range(blocks)
        for kind, n, n_weights in sizes
    ]


def n_removed_weights(groups: list[UnitGroup], removed: tuple[torch.Tensor, ...]) -> int:
    return sum(group.unit_weights * int(chosen.sum()) for group, chosen in zip(groups, removed, strict=True))


def test_the_units_below_the_nearest_threshold_are_removed() -> None:
    groups = groups_of(4)
    order = sorted(
        (score, group.block, group.kind, unit, group.unit_weights)
        for group in groups
        for unit, score in enumerate(group.scores.tolist())
        if unit != int(group.scores.argmax())
    )
    target = 0.3 * sum(group.n_weights for group in groups)
    totals = [sum(entry[4] for entry in order[:n]) for n in range(len(order) + 1)]
    nearest = min(range(len(totals)), key=lambda n: abs(totals[n] - target))
    expected = {entry[1:4] for entry in order[:nearest]}
    removed = removed_units(groups, 0.3)
    got = {
        (group.block, group.kind, unit)
        for group, chosen in zip(groups, removed, strict=True)
        for unit in chosen.nonzero().flatten().tolist()
    }
    assert got == expected


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), sparsity=st.floats(0, 0.6), equal=st.booleans())
def test_the_removed_weights_are_within_one_unit_of_the_target(seed: int, sparsity: float, equal: bool) -> None:
    groups = groups_of(seed)
    removed = removed_units(groups, sparsity, equal_widths=equal)
    largest_step = 40 * (3 if equal else 1)
    target = sparsity * sum(group.n_weights for group in groups)
    assert abs(n_removed_weights(groups, removed) - target) <= largest_step / 2 + 1
    assert all(not bool(chosen.all()) for chosen in removed)
    more = removed_units(groups, min(sparsity + 0.1, 0.6), equal_widths=equal)
    assert all(bool((later | ~earlier).all()) for earlier, later in zip(removed, more, strict=True))
    if equal:
        for kind in ("heads", "neurons"):
            counts = [int(c.sum()) for group, c in zip(groups, removed, strict=True) if group.kind == kind]
            assert len(set(counts)) == 1


def test_equal_widths_remove_the_lowest_of_every_block() -> None:
    groups = groups_of(8)
    for group, chosen in zip(groups, removed_units(groups, 0.4, equal_widths=True), strict=True):
        assert not bool(chosen.any()) or float(group.scores[chosen].max()) < float(group.scores[~chosen].min())


def test_sparsity_0_removes_nothing_and_the_best_units_always_stay() -> None:
    groups = groups_of(2)
    assert n_removed_weights(groups, removed_units(groups, 0)) == 0
    for group, chosen in zip(groups, removed_units(groups, 0.99), strict=True):
        assert (~chosen).nonzero().flatten().tolist() == [int(group.scores.argmax())]


def test_of_equal_scores_the_earlier_unit_is_removed_first() -> None:
    groups = [UnitGroup(block, "neurons", torch.zeros(4, dtype=torch.float64), 1) for block in range(2)]
    removed = [chosen.nonzero().flatten().tolist() for chosen in removed_units(groups, 0.5)]
    assert removed == [[0, 1, 2], [0]]


def test_bad_scores_and_uneven_blocks_are_refused() -> None:
    groups = groups_of(1)
    groups[2].scores[1] = torch.inf
    with pytest.raises(StatisticsError):
        removed_units(groups, 0.3)
    with pytest.raises(ShapeError):
        removed_units([*groups_of(1), *groups_of(1, blocks=1, heads=3)], 0.3, equal_widths=True)
    with pytest.raises(BadInputError):
        removed_units(groups_of(1), 1.0)
