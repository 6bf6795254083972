"""Bootstraps of demonstrations."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.errors import BadInputError
from mlprune.numeric.activations.resampling import bootstrap_weights

PROPERTY = settings(max_examples=25, deadline=None, derandomize=True, database=None)
KNOWN_RESAMPLE = [0, 0, 1, 2, 2, 1, 1, 1]
"""Counts of seed 0 of eight demonstrations: other draws would change resampled variants, but not their ids."""


@PROPERTY
@given(n=st.integers(1, 40), seed=st.integers(-5, 5))
def test_a_bootstrap_draws_as_many_demonstrations_as_there_are(n: int, seed: int) -> None:
    counts = bootstrap_weights(n, seed)
    assert (counts.dtype, counts.shape, float(counts.sum())) == (torch.float64, (n,), n)
    assert (counts == counts.round()).all()
    assert (counts >= 0).all()
    assert torch.equal(bootstrap_weights(n, seed), counts)


def test_bootstraps_of_unlike_seeds_differ_and_leave_out_about_a_third() -> None:
    first, second = bootstrap_weights(1000, 0), bootstrap_weights(1000, 1)
    assert not torch.equal(first, second)
    for counts in (first, second):
        assert abs(float((counts == 0).double().mean()) - math.exp(-1)) < 0.05


def test_the_bootstrap_of_a_fixed_seed_has_the_pinned_counts() -> None:
    assert bootstrap_weights(8, 0).tolist() == KNOWN_RESAMPLE


def test_a_bootstrap_of_no_demonstrations_is_an_error() -> None:
    with pytest.raises(BadInputError, match="nothing to resample"):
        bootstrap_weights(0, 0)
