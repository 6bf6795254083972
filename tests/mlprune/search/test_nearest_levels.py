"""Levels with a given sum that are nearest to wanted ones."""

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.search.nearest_levels import nearest_levels


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_the_nearest_levels_are_those_of_a_complete_search(data: st.DataObject) -> None:
    n_units, n_levels = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    indices = st.lists(st.integers(0, n_levels - 1), min_size=n_units, max_size=n_units)
    weights = data.draw(st.lists(st.sampled_from([1, 2, 5]), min_size=n_units, max_size=n_units))
    wanted, reached = data.draw(indices), data.draw(indices)
    target = sum(weight * level for weight, level in zip(weights, reached, strict=True))
    best = min(
        (
            levels
            for levels in product(range(n_levels), repeat=n_units)
            if sum(weight * level for weight, level in zip(weights, levels, strict=True)) == target
        ),
        key=lambda levels: (sum(abs(a - b) for a, b in zip(levels, wanted, strict=True)), levels),
    )
    assert nearest_levels(wanted, weights, n_levels=n_levels, target=target) == best
