"""Agreement of two languages, item by item, in small examples."""

import hashlib
from collections.abc import Sequence

import numpy as np
import pytest

from mlprune.evaluation.rank_agreement import LanguageRankings, agreement
from mlprune.evaluation.scoring.predictions import Predictions
from mlprune.evaluation.scoring.rules import Likelihoods
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
