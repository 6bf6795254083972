"""Correction for multiple tests, compared with loops and examples by hand."""

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.errors import PermanentError
from mlprune.numeric.statistics.multiplicity import holm

PROPERTY = settings(max_examples=60, deadline=None, derandomize=True, database=None)
FAMILIES = st.lists(st.sampled_from([0.0, 0.001, 0.01, 0.02, 0.04, 0.3, 0.7, 1.0]), max_size=8)


def holm_by_hand(p_values: list[float]) -> list[float]:
    adjusted = []
    for p in p_values:
        smaller = [q for q in p_values if q <= p]
        candidates = []
        for q in smaller:
            n_below = sum(r < q for r in p_values)
            candidates.append((len(p_values) - n_below) * q)
        adjusted.append(min(1.0, max(candidates)))
    return adjusted


@PROPERTY
@given(FAMILIES)
def test_holm_equals_the_definition_with_ties(p_values: list[float]) -> None:
    assert holm(p_values) == pytest.approx(holm_by_hand(p_values))


@PROPERTY
@given(FAMILIES)
def test_a_correction_only_increases_p_values_and_keeps_ties(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= h + 1e-12 and h <= 1 for p, h in zip(p_values, adjusted, strict=True))
    assert len(set(zip(p_values, adjusted, strict=True))) == len(set(p_values))


def test_an_example_by_hand_in_any_order() -> None:
    for family in permutations([(0.01, 0.04), (0.02, 0.06), (0.03, 0.06), (0.2, 0.2)]):
        p_values = [p for p, _ in family]
        assert holm(p_values) == pytest.approx([adjusted for _, adjusted in family])


def test_a_family_with_something_else_is_an_error() -> None:
    for wrong in (math.nan, -0.1, 1.1):
        with pytest.raises(PermanentError, match="not a p-value") as caught:
            holm([0.5, wrong])
        assert caught.value.context["index"] == 1
    assert holm([]) == []
    assert np.all(np.isfinite(holm([0.0, 1.0])))
