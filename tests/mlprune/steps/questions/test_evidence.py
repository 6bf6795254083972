"""Evidence from the records of comparisons."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlprune.errors import StoreError
from mlprune.numeric.statistics.clusters import Interval
from mlprune.numeric.statistics.paired_proportions import superiority_p_value
from mlprune.numeric.statistics.sign_flips import sign_flip_test, sign_flips
from mlprune.steps.job import make_identity
from mlprune.steps.questions.evidence import (
    ClusterEstimate,
    Counts,
    Criterion,
    Evidence,
    IntervalEstimate,
    ItemEstimate,
    aligned,
    estimate_of,
    margin_p_value,
    opposite_p_value,
    read_evidence,
)
from mlprune.store.records import Record
from mlprune.store.store import Store
from tests.mlprune.steps.questions.comparison_records import changed, cluster_evidence

SCHEMA = {
    "metric": "string",
    "group_kind": "string",
    "group_name": "string",
    "cluster": "string",
    "contribution": "double",
    "size": "double",
}
ENGLISH = Criterion("accuracy", "language", "en")
OTHERS = Criterion("accuracy", "outside_english")


def written(store: Store, **row: Any) -> Record:
    """A comparison with one language and one group, and the contributions of two clusters to each."""
    values = {"metric": "accuracy", "difference": 0.25, "standard_error": None, "n_clusters": 2, **row}
    identity = make_identity("comparisons")
    columns = {
        "metric": ["accuracy"] * 4,
        "group_kind": ["outside_english", "language", "outside_english", "language"],
        "group_name": ["", "en", "", "en"],
        "cluster": ["a", "a", "b", "b"],
        "contribution": [0.5, 0.1, -0.25, 0.2],
        "size": [0.5, 0.4, 0.5, 0.6],
    }
    artefact = store.write_table(f"contributions/{identity.id}.parquet", columns, SCHEMA)
    rows = {
        "comparison_results": [{**values, "language": "en", "test": "tango", "n": 4, "n_gained": 2, "n_lost": 1}],
        "aggregate_results": [{**values, "group_kind": "outside_english", "group_name": "", "test": "sign_flip"}],
    }
    record = identity.record(artefacts=(artefact,), rows=rows)
    store.write_record(record)
    return record


def test_a_language_and_a_group_have_their_own_rows_and_clusters(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    record = written(store)
    english, others = (read_evidence(store, record, criterion) for criterion in (ENGLISH, OTHERS))
    assert english.counts == (2, 1, 4)
    assert others.counts is None
    assert (english.clusters, others.clusters) == (("a", "b"), ("a", "b"))
    assert english.contributions.tolist() == [0.1, 0.2]
    assert others.contributions.tolist() == [0.5, -0.25]
    assert others.standard_error == float("inf")


def test_a_comparison_without_the_group_is_named(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    record = written(store)
    with pytest.raises(StoreError, match="worst"):
        read_evidence(store, record, Criterion("accuracy", "worst"))


@pytest.mark.parametrize(("ends", "error"), [((-0.1, 0.2), 0.2 / 1.645), ((None, 0.2), math.inf)])
def test_the_worst_language_is_known_by_its_interval_alone(ends: tuple[float | None, float], error: float) -> None:
    row = {"test": "minima", "difference": 0.0, "ci_low": ends[0], "ci_high": ends[1], "standard_error": 0.01}
    assert Evidence(row, (), np.zeros(0), np.zeros(0)).standard_error == pytest.approx(error)


def test_clusters_of_several_comparisons_are_aligned_by_name() -> None:
    first = Evidence({}, ("a", "b"), np.array([1.0, 2.0]), np.array([2.0, 2.0]))
    second = Evidence({}, ("c", "a"), np.array([3.0, 4.0]), np.array([1.0, 3.0]))
    contributions, sizes = aligned([first, second])
    assert contributions.tolist() == [[0.25, 1.0], [0.5, 0.0], [0.0, 0.75]]
    assert sizes.tolist() == [[0.5, 0.75], [0.5, 0.0], [0.0, 0.25]]


Estimates = ItemEstimate | ClusterEstimate


def estimates() -> list[Estimates]:
    generator = np.random.default_rng(0)
    sizes = generator.integers(1, 4, 60).astype(np.float64)
    return [
        ItemEstimate(Counts(7, 4, 150)),
        ClusterEstimate(generator.normal(0.02, 0.2, 60) * sizes, sizes),
        ClusterEstimate(np.array(changed(3, 5, n=120)), np.ones(120)),
        ClusterEstimate(np.zeros(120), np.ones(120)),
        ClusterEstimate(np.array(changed(9, 6, n=115)) / 5, np.ones(115)),
        ClusterEstimate(np.array(changed(9, 4)), np.ones(40)),
    ]


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("estimate", estimates(), ids=["items", "clusters", "few", "none", "parts", "gain"])
def test_the_test_of_a_margin_rejects_exactly_what_is_outside_the_90_percent_interval(estimate: Estimates) -> None:
    for one in (estimate, estimate.mirrored):
        edge = -one.interval(0.9).low
        if edge > 0:
            assert one.p_worse(edge + 1e-6) < 0.05 <= one.p_worse(edge - 1e-6) + 1e-9


def test_zero_losses_in_150_items_allow_two_points_and_not_one() -> None:
    items, clusters = ItemEstimate(Counts(0, 0, 150)), ClusterEstimate(np.zeros(150), np.ones(150))
    for estimate in (items, clusters):
        assert estimate.p_worse(0.02) < 0.05 < estimate.p_worse(0.0195)
        assert estimate.p_worse(0.01) > 0.15


def test_items_in_clusters_say_less_than_as_many_independent_items() -> None:
    spread = ClusterEstimate(np.zeros(150), np.ones(150))
    together = ClusterEstimate(np.zeros(50), np.full(50, 3.0))
    assert together.p_worse(0.03) > 3 * spread.p_worse(0.03)


def test_equivalence_needs_both_directions() -> None:
    gained = ItemEstimate(Counts(12, 0, 300))
    assert margin_p_value(gained, "noninferior", 0.02, sign=1) < 0.001
    assert margin_p_value(gained, "equivalent", 0.02, sign=1) > 0.9
    unchanged = ItemEstimate(Counts(0, 0, 300))
    assert margin_p_value(unchanged, "equivalent", 0.02, sign=1) < 0.05


@pytest.mark.parametrize("estimate", estimates(), ids=["items", "clusters", "few", "none", "parts", "gain"])
def test_a_claim_about_a_margin_and_its_opposite_are_never_both_shown(estimate: Estimates) -> None:
    for one in (estimate, estimate.mirrored):
        for margin in (0.001, 0.02, 0.1):
            for claim in ("noninferior", "equivalent"):
                both = [of(one, claim, margin, sign=1) for of in (margin_p_value, opposite_p_value)]  # type: ignore[arg-type]
                assert max(both) > 0.4


def test_the_opposite_of_a_claim_is_a_loss_or_for_equivalence_also_a_gain_beyond_the_margin() -> None:
    lost, gained = ItemEstimate(Counts(0, 20, 150)), ItemEstimate(Counts(20, 0, 150))
    p_loss = opposite_p_value(lost, "noninferior", 0.02, sign=1)
    assert p_loss == superiority_p_value(20, 0, 150, margin=0.02) < 0.001
    assert opposite_p_value(gained, "noninferior", 0.02, sign=1) > 0.99
    for either in (lost, gained):
        assert opposite_p_value(either, "equivalent", 0.02, sign=1) == pytest.approx(2 * p_loss)
    assert opposite_p_value(gained, "noninferior", 0.02, sign=-1) == p_loss


def test_for_metrics_where_lower_is_better_a_rise_is_worse() -> None:
    rise = ClusterEstimate(np.random.default_rng(1).normal(0.05, 0.05, 50), np.ones(50))
    assert margin_p_value(rise, "noninferior", 0.03, sign=1) < 0.05
    assert margin_p_value(rise, "noninferior", 0.03, sign=-1) > 0.9


def test_independent_binary_items_have_tangos_test_and_others_their_clusters() -> None:
    assert isinstance(estimate_of(cluster_evidence(changed(3, 1), test="tango")), ItemEstimate)
    assert isinstance(estimate_of(cluster_evidence(changed(3, 1))), ClusterEstimate)
    for test in ("minima", "randomization"):
        assert isinstance(estimate_of(cluster_evidence(changed(3, 1), test=test)), IntervalEstimate)


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("test", ["tango", "sign_flip"])
@pytest.mark.parametrize("counts", [(0, 0), (3, 5), (5, 3), (9, 0), (0, 9), (2, 1)])
def test_the_test_of_a_margin_agrees_with_the_90_percent_interval_of_the_record(
    test: str, counts: tuple[int, int]
) -> None:
    evidence = cluster_evidence(changed(*counts, n=90), test=test)
    estimate, edge = estimate_of(evidence), -evidence.interval("ci90").low
    assert evidence.interval("ci").low <= -edge <= evidence.difference
    if edge > 0:
        assert estimate.p_worse(edge + 1e-6) < 0.05 <= estimate.p_worse(edge - 1e-6) + 1e-9


def test_two_intervals_give_tails_that_agree_with_both() -> None:
    estimate = IntervalEstimate(-0.1, Interval(-0.3, 0.2), Interval(-0.25, 0.1))
    assert estimate.p_worse(0.1) == 0.5
    assert estimate.p_worse(0.25) == pytest.approx(0.05)
    assert estimate.p_worse(0.3) == pytest.approx(0.025)
    assert estimate.p_worse(-0.1) == pytest.approx(0.95)
    tails = [estimate.p_worse(margin) for margin in np.linspace(-0.5, 0.8, 40)]
    assert tails == sorted(tails, reverse=True)
    assert estimate.mirrored.p_worse(-0.1 + 0.2) == pytest.approx(0.05)


def test_an_unbounded_interval_and_one_of_no_width_have_tails_too() -> None:
    unbounded = IntervalEstimate(0.1, Interval(-math.inf, math.inf), Interval(-math.inf, math.inf))
    assert unbounded.p_worse(9.0) == 0.5
    exact = IntervalEstimate(0.1, Interval(0.1, 0.1), Interval(0.1, 0.1))
    assert (exact.p_worse(-0.1), exact.p_worse(0.0) < 1e-10) == (0.5, True)


def test_the_90_percent_interval_is_inside_the_95_percent_interval() -> None:
    for estimate in estimates():
        wide, narrow = estimate.interval(0.95), estimate.interval(0.9)
        assert wide.low <= narrow.low < narrow.high <= wide.high
    parts = ClusterEstimate(np.array(changed(9, 6, n=115)) / 5, np.ones(115))
    flips = sign_flip_test(parts.contributions, parts.sizes, sign_flips(115))
    assert parts.interval(0.9).width < flips.interval.width
