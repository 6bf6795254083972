"""Agreement of two languages, item by item, in small examples."""

import hashlib
from collections.abc import Sequence

import numpy as np
import pytest

from mlprune.evaluation.rank_agreement import Agreement, LanguageRankings, agreement, compare_ranks, measure_ranks
from mlprune.evaluation.scoring.predictions import Likelihoods, Predictions
from mlprune.numeric.arrays import Array
from mlprune.numeric.evaluation.rankings import Rankings, chance_consistency, item_consistency
from mlprune.numeric.statistics.bootstrap import N_RESAMPLES
from mlprune.vocabulary import ProfileName


def language(
    items: dict[str, Sequence[float]], *, gold: Sequence[int] = (), profile: ProfileName = "corrected"
) -> LanguageRankings:
    """Rankings of items whose candidates have the given scores, with texts of one token."""
    sizes = [len(scores) for scores in items.values()]
    whole = np.array([score for scores in items.values() for score in scores])
    ones, nothing = np.ones(len(whole), dtype=np.int64), np.full(len(whole), np.nan)
    likelihoods = Likelihoods(whole=whole, n_whole=ones, part=whole, n_part=ones, alone=nothing)
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    right = np.array(gold or [0] * len(items), dtype=np.int64)
    names = tuple(f"candidate {row}" for row in range(len(whole)))
    predictions = Predictions(tuple(items), starts, right, names, likelihoods, profile=profile)
    return LanguageRankings.of(predictions)


def test_languages_are_matched_by_example_and_items_of_other_sizes_are_counted() -> None:
    first = language({"a": [2.0, 1.0], "b": [1.0, 2.0, 3.0], "c": [0.0, 1.0], "only": [1.0]})
    second = language({"c": [5.0, 6.0], "b": [1.0, 2.0], "a": [1.0, 2.0]})
    agreed = agreement(first, second)
    assert agreed.first.example_ids == agreed.second.example_ids == ("a", "c")
    assert agreed.n_skipped == 1
    assert agreed.values[1] == pytest.approx(1.0)
    assert agreed.values[0] < 0.5
    assert agreed.chances.round(3).tolist() == [0.634, 0.634]


def test_the_same_id_with_another_right_candidate_is_another_item() -> None:
    items = {str(item): [0.0, 1.0] for item in range(40)}
    gold = [item % 2 for item in range(40)]
    corrected = [*gold[:38], 1 - gold[38], 1 - gold[39]]
    agreed = agreement(language(items, gold=gold), language(items, gold=corrected))
    assert (len(agreed.values), agreed.n_skipped) == (38, 2)


def test_numbers_of_different_items_are_not_paired_even_where_the_answers_happen_to_agree() -> None:
    """A file lacks its first row, so that all numbers name the next item."""
    gold = np.random.default_rng(0).integers(0, 3, 41).tolist()
    first, second = ({str(item): [0.0, 1.0, 2.0] for item in range(n)} for n in (41, 40))
    agreed = agreement(language(first, gold=gold), language(second, gold=gold[1:]))
    assert (len(agreed.values), agreed.n_skipped) == (0, 40)


def test_agreement_on_wrong_answers() -> None:
    first = language({"right": [3.0, 1.0, 0.0], "same": [0.0, 3.0, 1.0], "other": [0.0, 3.0, 1.0]})
    second = language({"right": [0.0, 1.0, 3.0], "same": [0.0, 4.0, 3.0], "other": [0.0, 1.0, 3.0]})
    agreed = agreement(first, second)
    assert agreed.both_wrong.tolist() == [0.0, 1.0, 1.0]
    assert agreed.same_wrong.tolist() == [0.0, 1.0, 0.0]


def test_equal_scores_are_ordered_by_the_hash_of_example_and_candidate() -> None:
    tied = language({"a": [0.0, 0.0, 0.0]})
    assert tied.rankings.ranks.tolist() == [ranks_of_hashes("a", 3)]
    assert agreement(tied, language({"a": [7.0, 7.0, 7.0]})).values == pytest.approx([1.0])


def ranks_of_hashes(name: str, n: int) -> list[int]:
    keys = [hashlib.sha256(f"{name}:{index}".encode()).hexdigest() for index in range(n)]
    return [sorted(keys).index(key) for key in keys]


def test_profile_paper_ranks_by_ascending_score_and_answers_with_the_highest() -> None:
    paper = language({"a": [0.0, 3.0, 1.0]}, profile="paper")
    assert paper.rankings.ranks.tolist() == [[0, 2, 1]]
    assert paper.answers.tolist() == [1]


def test_languages_without_common_items_have_no_values() -> None:
    assert len(agreement(language({"a": [1.0]}), language({"b": [1.0]})).values) == 0


N_ITEMS, N_CANDIDATES = 120, 5


def rank_inference_language(scores: Array, *, clusters: tuple[str, ...] = ()) -> LanguageRankings:
    """Rankings of items by [items, candidates] scores; candidate 0 is right."""
    rankings = Rankings.from_scores(scores, np.tile(np.arange(scores.shape[1]), (len(scores), 1)))
    names = tuple(f"item {index}" for index in range(len(scores)))
    return LanguageRankings(names, clusters or names, rankings, np.zeros(len(scores), dtype=np.int64), rankings.first)


def two_languages(seed: int, *, right: float = 0.0, shared: float = 0.0) -> Agreement:
    """Two languages that favour the right candidate and share a part of their noise."""
    generator = np.random.default_rng(seed)
    common, *own = generator.normal(size=(3, N_ITEMS, N_CANDIDATES))
    bonus = right * (np.arange(N_CANDIDATES) == 0)
    return agreement(*(rank_inference_language(bonus + shared * common + noise) for noise in own))


def test_unrelated_rankings_are_at_chance_and_at_their_expected_value() -> None:
    measured = measure_ranks(two_languages(0))
    assert measured.chance == pytest.approx(0.310, abs=5e-4)
    pairs = ((measured.value, measured.chance), (measured.corrected, 0.0), (measured.above_expected, 0.0))
    for estimate, truth in pairs:
        assert estimate is not None
        assert estimate.interval is not None
        assert estimate.interval.contains(truth)


def test_accuracy_raises_consistency_above_chance_and_not_above_the_expected_value() -> None:
    measured = measure_ranks(two_languages(1, right=3.0))
    assert measured.value.interval is not None
    assert measured.above_expected.interval is not None
    assert measured.value.interval.low > measured.chance + 0.2
    assert measured.above_expected.interval.contains(0.0)


def test_shared_knowledge_is_above_the_expected_value() -> None:
    measured = measure_ranks(two_languages(2, right=1.0, shared=1.5))
    assert measured.above_expected.interval is not None
    assert measured.above_expected.interval.low > 0
    assert measured.above_expected.value == pytest.approx(measured.value.value - measured.expected, abs=1e-15)


@pytest.mark.thorough("scores many texts or draws")
@pytest.mark.parametrize("correlation", [0.3, 0.6])
def test_unrelated_wrong_candidates_are_at_the_expected_value_although_the_same_items_are_hard(
    correlation: float,
) -> None:
    """The 95 % interval of the difference excludes 0 in about 5 % of 200 simulations."""
    generator, n_outside = np.random.default_rng(9), 0
    for _ in range(200):
        common, *own = generator.normal(size=(3, N_ITEMS))
        scores = generator.normal(size=(2, N_ITEMS, N_CANDIDATES))
        for side, difficulty in zip(scores, own, strict=True):
            shared = np.sqrt(correlation) * common + np.sqrt(1 - correlation) * difficulty
            side[:, 0] += 1.0 + 2.0 * shared
        interval = measure_ranks(agreement(*map(rank_inference_language, scores))).above_expected.interval
        assert interval is not None
        n_outside += not interval.contains(0.0)
    assert 3 <= n_outside <= 18


def test_the_expected_value_is_the_mean_over_random_orders_of_the_wrong_candidates() -> None:
    """Items keep both ranks of their right candidate."""
    agreed, generator = two_languages(3, right=1.0, shared=1.0), np.random.default_rng(0)
    values = []
    for _ in range(300):
        renamed = np.zeros((N_ITEMS, N_CANDIDATES), dtype=np.int64)
        renamed[:, 1:] = generator.permuted(np.tile(np.arange(1, N_CANDIDATES), (N_ITEMS, 1)), axis=1)
        ranks = np.take_along_axis(agreed.second.rankings.ranks, renamed, axis=1)
        other = Rankings(ranks, agreed.second.rankings.sizes)
        values.append(item_consistency(agreed.first.rankings, other).mean())
    error = np.std(values) / np.sqrt(len(values))
    assert measure_ranks(agreed).expected == pytest.approx(np.mean(values), abs=4 * error)


def test_items_of_one_cluster_are_resampled_together() -> None:
    """Four copies of every item in one cluster have the interval of the items alone."""
    agreed = two_languages(4, right=1.0)
    scores = [-np.repeat(side.rankings.ranks, 4, axis=0).astype(float) for side in (agreed.first, agreed.second)]
    clusters = tuple(f"cluster {index // 4}" for index in range(4 * N_ITEMS))
    copied = measure_ranks(agreement(*(rank_inference_language(side, clusters=clusters) for side in scores)))
    alone = measure_ranks(agreed)
    assert copied.n_clusters == alone.n_clusters == N_ITEMS
    for name in ("value", "corrected", "above_expected"):
        ends = [(got.interval.low, got.interval.high) for got in (getattr(copied, name), getattr(alone, name))]
        assert ends[0] == pytest.approx(ends[1], abs=1e-9)


def test_chance_is_resampled_with_items_of_different_sizes() -> None:
    scores = np.random.default_rng(5).normal(size=(2, 40, 4))
    scores[:, 20:, 2:] = np.nan
    measured = measure_ranks(agreement(*map(rank_inference_language, scores)))
    assert measured.chance == pytest.approx(chance_consistency(np.array([4, 2])).mean())
    assert measured.corrected is not None
    assert measured.corrected.value == pytest.approx((measured.value.value - measured.chance) / (1 - measured.chance))
    assert N_RESAMPLES >= 1000


def test_equal_rankings_have_an_interval_of_some_width_and_one_cluster_has_none() -> None:
    scores = np.random.default_rng(6).normal(size=(30, 3))
    measured = measure_ranks(agreement(rank_inference_language(scores), rank_inference_language(scores)))
    assert measured.value.value == pytest.approx(1.0)
    assert measured.value.interval is not None
    assert measured.value.interval.low < 0.95
    single = measure_ranks(
        agreement(*(rank_inference_language(side, clusters=("one",) * 30) for side in (scores, -scores)))
    )
    assert (single.n_clusters, single.value.interval, single.above_expected.interval) == (1, None, None)


def test_items_with_one_candidate_have_no_corrected_value() -> None:
    measured = measure_ranks(
        agreement(rank_inference_language(np.zeros((3, 1))), rank_inference_language(np.ones((3, 1))))
    )
    assert (measured.value.value, measured.chance, measured.expected, measured.corrected) == (1.0, 1.0, 1.0, None)


def test_variants_are_compared_on_their_common_items() -> None:
    agreed, other = two_languages(7, right=2.0), two_languages(8)
    items = np.arange(N_ITEMS - 1, 9, -1)
    part = agreement(other.first.take(items), other.second.take(items))
    (result,) = compare_ranks([(agreed, part)])
    assert result is not None
    assert result.difference == pytest.approx((agreed.values - other.values)[10:].mean())
    assert result.p_value < 0.01
    assert result.interval.low > 0


def test_pairs_without_common_items_are_not_compared() -> None:
    agreed = two_languages(9)
    nothing = agreement(agreed.first.take(np.arange(0)), agreed.second.take(np.arange(0)))
    same, none = compare_ranks([(agreed, agreed), (agreed, nothing)])
    assert same is not None
    assert (same.difference, same.p_value) == (0.0, 1.0)
    assert none is None
    assert compare_ranks([(nothing, agreed)]) == (None,)
