import numpy as np
import pytest
from scipy import stats

from infra.real.crossed_bootstrap import paired_mean, resampled_indices
from mlprune.errors import ShapeError


def sample(n_sets=6, n_languages=3, n_items=40, shift=0.0, seed=0):
    rng = np.random.default_rng(seed)
    counts = rng.integers(5, 30, (n_sets, n_languages, n_items)).astype(float)
    return counts * (shift + 0.1 * rng.standard_normal(counts.shape)), counts


def test_mean_interval_and_p_value_are_those_of_plain_loops():
    differences, counts = sample(n_sets=4, n_items=7)
    result = paired_mean(differences, counts, n_resamples=30, seed=5)
    items = resampled_indices(7, n_resamples=30, seed=5)
    sets = resampled_indices(4, n_resamples=30, seed=6)
    means = []
    for drawn_items, drawn_sets in zip(items, sets, strict=True):
        cells = [
            sum(differences[s, l, i] for i in drawn_items) / sum(counts[s, l, i] for i in drawn_items)
            for s in drawn_sets
            for l in range(3)  # noqa: E741
        ]
        means.append(sum(cells) / len(cells))
    mean = np.mean([differences[s, l].sum() / counts[s, l].sum() for s in range(4) for l in range(3)])  # noqa: E741
    error = np.std(means)
    assert result.mean == pytest.approx(mean)
    assert result.p_value == pytest.approx(2 * stats.t.sf(abs(mean) / error, 3))
    assert (result.ci_low, result.ci_high) == pytest.approx((mean - 3.1824463 * error, mean + 3.1824463 * error))
    assert (result.n_sets, result.n_items, result.n_cells) == (4, 7, 12)


def test_a_difference_in_all_sets_and_items_is_significant_and_noise_rarely_is():
    p_values = [paired_mean(*sample(seed=seed), n_resamples=300).p_value for seed in range(60)]
    assert sum(p < 0.05 for p in p_values) <= 6
    shifted = paired_mean(*sample(shift=-0.05))
    assert shifted.p_value < 0.01
    assert shifted.ci_high < 0
    assert shifted.n_below == 18


def test_a_difference_between_sets_is_not_taken_for_a_difference_of_the_arms():
    differences, counts = sample()
    differences += counts * np.array([1, 1, -1, -1, 1, 1])[:, None, None]
    assert paired_mean(differences, counts).p_value > 0.2


def test_equal_arms_differ_by_nothing():
    result = paired_mean(np.zeros((2, 1, 3)), np.ones((2, 1, 3)))
    assert (result.mean, result.p_value) == (0, 1)


@pytest.mark.parametrize("shapes", [((1, 2, 3), (1, 2, 3)), ((2, 2, 3), (2, 3)), ((2, 3), (2, 3))])
def test_shapes_are_checked(shapes):
    with pytest.raises(ShapeError):
        paired_mean(np.zeros(shapes[0]), np.ones(shapes[1]))
