"""The correction of a family of sign-flip tests, compared with loops."""

import math

import numpy as np
import pytest

from mlprune.capabilities.sensitivity.max_t import max_t_p_values
from mlprune.errors import PermanentError, ShapeError
from mlprune.numeric.statistics.sign_flips import sign_flip_test, sign_flip_tests, sign_flips
from tests.mlprune.numeric.statistics.test_sign_flips import sign_flips_example
from tests.refusals import refused


def plain_max_t(contributions: np.ndarray, flips: np.ndarray) -> list[float]:
    """Step-down max-T as published, with loops."""
    n_variants = contributions.shape[1]
    norms = np.sqrt((contributions**2).sum(axis=0))
    statistics = [[abs(math.fsum(s * contributions[:, v])) / norms[v] for v in range(n_variants)] for s in flips]
    order = sorted(range(n_variants), key=lambda v: -statistics[0][v])
    p_values, least = [0.0] * n_variants, 0.0
    for place, variant in enumerate(order):
        largest = [max(row[v] for v in order[place:]) for row in statistics]
        observed = statistics[0][variant]
        beyond = sum(value > observed + 1e-8 for value in largest)
        equal = sum(abs(value - observed) <= 1e-8 for value in largest)
        least = max(least, (beyond + 0.5 * equal + 0.5) / len(flips))
        p_values[variant] = least
    return p_values


def test_max_t_equals_the_step_down_loop() -> None:
    contributions = np.stack([sign_flips_example(15, seed, shift=0.2 * seed)[0] for seed in range(5)], axis=1)
    flips = sign_flips(15, n_flips=399)
    assert max_t_p_values(contributions, np.ones(15), flips) == pytest.approx(plain_max_t(contributions, flips))


def test_a_family_of_one_has_the_p_value_of_the_test() -> None:
    d, m = sign_flips_example(25, 3, shift=0.5)
    flips = sign_flips(25, n_flips=999)
    assert max_t_p_values(d[:, None], m, flips)[0] == sign_flip_test(d, m, flips).p_value


def test_copies_cost_nothing_and_other_variants_cost_something() -> None:
    d, m = sign_flips_example(40, 11, shift=0.8)
    flips = sign_flips(40, n_flips=999)
    alone = sign_flip_test(d, m, flips).p_value
    copies = max_t_p_values(np.stack([d] * 6, axis=1), m, flips)
    assert copies == pytest.approx([alone] * 6)
    others = np.stack([d] + [sign_flips_example(40, seed)[0] for seed in range(20, 40)], axis=1)
    adjusted = max_t_p_values(others, m, flips)
    sizes = np.repeat(m[:, None], 21, axis=1)
    each = np.array([result.p_value for result in sign_flip_tests(others, sizes, flips, bound=None)])
    assert alone < adjusted[0] <= 21 * alone + 1e-12
    assert (adjusted >= each - 1e-12).all()


def test_a_variant_without_changes_has_p_of_one_and_disturbs_no_other() -> None:
    d, m = sign_flips_example(20, 3, shift=0.5)
    flips = sign_flips(20, n_flips=499)
    p_values = max_t_p_values(np.stack([np.zeros(20), d], axis=1), m, flips)
    assert p_values.tolist() == [1.0, sign_flip_test(d, m, flips).p_value]


def test_a_family_whose_arguments_do_not_fit_is_an_error() -> None:
    flips = sign_flips(3)
    with refused(ShapeError, expected=(3,), got=(2,)):
        max_t_p_values(np.zeros((3, 1)), np.ones(2), flips)
    with pytest.raises(PermanentError, match="size 0"):
        max_t_p_values(np.ones((3, 1)), np.zeros(3), flips)
