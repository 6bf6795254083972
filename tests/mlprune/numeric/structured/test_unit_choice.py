"""Choice of units against every prefix of the order, and its properties."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.errors import BadInputError, ShapeError, StatisticsError
from mlprune.numeric.structured.unit_choice import UnitGroup, removed_units


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
