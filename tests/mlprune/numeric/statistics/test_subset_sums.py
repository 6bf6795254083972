"""Sign-flip p-values from all sign vectors, compared with their complete list, McNemar's mid-p and coarser sums."""

import math

import numpy as np
import pytest

from mlprune.numeric.statistics import subset_sums
from mlprune.numeric.statistics.multiplicity import holm
from mlprune.numeric.statistics.paired_proportions import mcnemar_mid_p
from mlprune.numeric.statistics.sign_flips import sign_flip_test, sign_flips
from mlprune.numeric.statistics.subset_sums import sign_flip_tail


def of_all_sign_vectors(d: np.ndarray) -> float:
    """The definition, for up to 16 contributions."""
    signs = 1.0 - 2 * (np.arange(2 ** len(d))[:, None] >> np.arange(len(d)) & 1)
    sums, tolerance = np.abs(signs @ d), 1e-9 * np.abs(d).sum()
    equal = np.abs(sums - sums[0]) <= tolerance
    return float((sums > sums[0] + tolerance).sum() + 0.5 * equal.sum() + 0.5) / len(sums)


def lower_bound(d: np.ndarray, *, n_cells: int) -> float:
    """2 P(S < b) with amounts that are rounded up, so that every sum is too large, and the observed signs once."""
    amounts = np.abs(d)
    step = (amounts.sum() - abs(d.sum())) / 2 / n_cells
    masses = np.zeros(n_cells)
    masses[0] = 1.0
    for shift in np.ceil(amounts / step).astype(int):
        masses[shift:] += masses[: max(0, n_cells - shift)].copy()
        masses /= 2
    return float(2 * masses.sum()) + 2.0 ** -len(d)


@pytest.mark.parametrize("unit", [1.0, 1 / 60, 0.5, 1 / 147])
@pytest.mark.parametrize("seed", range(5))
def test_multiples_of_a_unit_have_the_p_value_of_all_sign_vectors(unit: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    d = generator.integers(-2, 5, 13 + seed % 4) * unit
    assert sign_flip_tail(d) == pytest.approx(of_all_sign_vectors(d), rel=1e-9)


@pytest.mark.parametrize("seed", range(24))
def test_it_is_never_below_that_of_all_sign_vectors_and_close_to_it(seed: int) -> None:
    generator = np.random.default_rng(seed)
    d = [generator.normal, generator.standard_cauchy, generator.exponential][seed % 3](size=14)
    d += [1.0, 0.0, -0.2][seed % 3] * d.std()
    expected = of_all_sign_vectors(d)
    assert expected * (1 - 1e-12) <= sign_flip_tail(d) <= 1.02 * expected


@pytest.mark.parametrize(("n_gained", "n_lost"), [(0, 102), (3, 40), (200, 90), (0, 6), (2, 1500)])
def test_single_items_have_mcnemars_mid_p_value(n_gained: int, n_lost: int) -> None:
    d = np.repeat([1.0, -1.0, 0.0], [n_gained, n_lost, 50])
    expected = mcnemar_mid_p(n_gained, n_lost)
    assert sign_flip_tail(d) == pytest.approx(max(expected, 2.3e-308), rel=1e-9, abs=1e-300)


@pytest.mark.thorough("draws and compares many arrays")
@pytest.mark.parametrize(("n", "n_cells", "most"), [(30, 2**18, 1.03), (150, 2**20, 1.03)])
@pytest.mark.parametrize("z", [3.0, 5.0, 8.0])
def test_the_error_of_a_grid_is_small(n: int, n_cells: int, most: float, z: float) -> None:
    for draw in (np.random.default_rng(n).normal, np.random.default_rng(n).laplace):
        d = draw(size=n)
        d += z * d.std() / math.sqrt(n) - d.mean()
        assert 1 <= sign_flip_tail(d) / lower_bound(d, n_cells=n_cells) <= most


@pytest.mark.thorough("draws and compares many arrays")
@pytest.mark.parametrize("z", [3.0, 8.0])
def test_a_thousand_clusters_differ_by_ten_percent_from_a_grid_of_sixteen_times_as_many_cells(
    z: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    d = np.random.default_rng(3).normal(size=1000)
    d += z * d.std() / math.sqrt(len(d)) - d.mean()
    coarse = sign_flip_tail(d)
    monkeypatch.setattr(subset_sums, "MOST_CELLS", 2**20)
    monkeypatch.setattr(subset_sums, "CELLS_PER_CLUSTER", 2**12)
    assert 1 <= coarse / sign_flip_tail(d) < 1.1


def test_many_clusters_without_a_unit_have_a_bound_at_most_three_times_too_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    d = np.random.default_rng(2).normal(size=2100)
    d += 5 * d.std() / math.sqrt(len(d)) - d.mean()
    bound = sign_flip_tail(d)
    monkeypatch.setattr(subset_sums, "MOST_GRID_CLUSTERS", 3000)
    assert sign_flip_tail(d) < bound < 3 * sign_flip_tail(d)


def test_p_is_continued_below_the_resolution_and_kept_above_it() -> None:
    flips, sizes = sign_flips(150), np.ones(150)
    for n_lost in (4, 6, 10, 30):
        d = np.repeat([-1.0, 0.0], [n_lost, 150 - n_lost])
        p_value = sign_flip_test(d, sizes, flips).p_value
        if n_lost > 6:
            assert p_value == pytest.approx(2.0**-n_lost)
        else:
            assert p_value == pytest.approx(2.0**-n_lost, rel=0.1)
            assert p_value * len(flips) * 2 == pytest.approx(round(p_value * len(flips) * 2))


def test_a_family_of_ten_thousand_rejects_102_lost_of_150() -> None:
    d = np.repeat([-1.0, 0.0], [102, 48])
    p_value = sign_flip_test(d, np.ones(150), sign_flips(150)).p_value
    assert p_value == pytest.approx(2.0**-102)
    assert holm([p_value, *[0.5] * 9999])[0] < 1e-20


@pytest.mark.thorough("draws and compares many arrays")
def test_the_level_at_a_thousandth_is_kept() -> None:
    d = np.random.default_rng(5).standard_t(3, size=(10_000, 30))
    n_rejected = sum(sign_flip_tail(row) < 0.001 for row in d)
    assert 2 <= n_rejected <= 20  # 10 expected
