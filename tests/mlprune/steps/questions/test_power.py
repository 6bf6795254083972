"""What questions can find before their run."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlprune.numeric.statistics import power as kernels
from mlprune.numeric.statistics.variance_components import ErrorNumbers, ErrorParts
from mlprune.steps.questions.power import CHANGED_SHARE, SEEDS_SHARE, Power, power_of
from mlprune.store.store import Store
from tests.mlprune.steps.questions.test_asked import FACTS, QUESTION, plan_of

MAGNITUDE: dict[str, Any] = {"name": "magnitude", "score": "magnitude", "sparsity": 0.5}
RANDOM: dict[str, Any] = {"name": "random", "score": "random", "sparsity": 0.5, "seed": [0, 1]}
OVER_MEAN: dict[str, Any] = {"variants": "random", "languages": "outside_english", "over": "mean"}
IN_ENGLISH: dict[str, Any] = {**QUESTION, "variants": "magnitude", "languages": "en"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


def power(folder: Path, store: Store, **changes: Any) -> Power:
    plan = plan_of(folder, {**IN_ENGLISH, **changes}, variants=[MAGNITUDE, RANDOM])
    return power_of(plan.questions[0], store)


def test_items_are_counted_in_the_languages_of_the_question(tiny_inputs: Path, store: Store) -> None:
    english, others, worst = (power(tiny_inputs, store, languages=name) for name in ("en", "outside_english", "worst"))
    n = english.n_answers
    assert n > 0
    assert (others.n_languages, others.n_answers, worst.n_answers) == (2, 2 * n, n)
    assert (english.n_clusters, others.n_clusters) == (n, n)
    assert english.smallest_significant == pytest.approx(4 / n)
    assert others.smallest_significant == pytest.approx(5 / (2 * n))


def test_a_larger_family_needs_larger_differences(tiny_inputs: Path, store: Store) -> None:
    one, two = (power(tiny_inputs, store, variants=name, languages="all") for name in ("magnitude", "random"))
    assert (one.question.n_tests, two.question.n_tests) == (1, 2)
    assert one.smallest_significant is not None
    assert two.smallest_significant is not None
    assert one.smallest_significant < two.smallest_significant
    assert power(tiny_inputs, store, variants="random", languages="all", over="mean").question.n_tests == 1


def test_a_margin_that_the_items_cannot_test_is_reported_with_the_number_of_items(
    tiny_inputs: Path, store: Store
) -> None:
    weak = power(tiny_inputs, store, claim="noninferior", margin=0.01)
    (warning,) = weak.warnings()
    assert "1.0 points needs about 299 independent items" in warning
    assert f"has {weak.n_answers}:" in warning
    assert list(power(tiny_inputs, store, claim="noninferior", margin=0.9).warnings()) == []


def test_a_gain_that_cannot_be_significant_is_reported(tiny_inputs: Path, store: Store) -> None:
    (warning,) = power(tiny_inputs, store).warnings()
    assert "no gain below" in warning


def test_one_seed_is_reported_and_several_are_not(tiny_inputs: Path, store: Store) -> None:
    plan = plan_of(tiny_inputs, {**QUESTION, "claim": "noninferior", "margin": 0.99})
    assert ["one draw" in text for text in power_of(plan.questions[0], store).warnings()] == [True]
    many = power(tiny_inputs, store, variants="random", claim="noninferior", margin=0.99)
    assert not any("one draw" in text for text in many.warnings())


def test_stored_results_replace_the_assumption(tiny_inputs: Path, store: Store) -> None:
    plan = plan_of(tiny_inputs, IN_ENGLISH, variants=[MAGNITUDE])
    question = plan.questions[0]
    assert power_of(question, store).n_stored == 0
    row = {"language": "en", "metric": "accuracy", "standard_error": 0.02}
    store.write_record(question.comparisons[0].identity.record(rows={"comparison_results": [row]}))
    known = power_of(question, store)
    assert (known.n_stored, known.detectable) == (1, known.smallest_significant)  # at least what can be significant
    store.write_record(
        question.comparisons[0].identity.record(rows={"comparison_results": [{**row, "standard_error": 0.3}]})
    )
    assert power_of(question, store).detectable == pytest.approx(kernels.detectable_difference(0.3))


def test_tests_that_cannot_be_significant_are_reported_with_their_smallest_p_value(
    tiny_inputs: Path, store: Store
) -> None:
    few = replace(power(tiny_inputs, store, languages="all"), n_clusters=4)
    assert few.smallest_p == 1.5 / 16
    assert any("cannot decide: the smallest p-value of one is 0.094" in text for text in few.warnings())
    worst = power(tiny_inputs, store, languages="worst")
    assert worst.smallest_p >= 2 / 10_000


def test_a_baseline_at_the_ceiling_leaves_no_gain(tiny_inputs: Path, store: Store) -> None:
    plan = plan_of(tiny_inputs, IN_ENGLISH, variants=[MAGNITUDE], evaluations=[FACTS])
    question = plan.questions[0]
    for _, baseline in question.comparisons[0].pairs:
        row = {"metric": "accuracy", "value": 1.0}
        store.write_record(baseline.identity.record(rows={"metrics": [row]}))
    assert power_of(question, store).headroom == 0
    assert any("0.0 points below the best value" in text for text in power_of(question, store).warnings())


def test_other_metrics_have_no_power_before_there_are_results(tiny_inputs: Path, store: Store) -> None:
    result = power(tiny_inputs, store, metric="ece")
    assert (result.smallest_significant, result.detectable, result.testable_margin) == (None, None, None)


def mean_power(
    parts: Sequence[float], n_clusters: int, *, n_seeds: int = 2, n_baseline_seeds: int = 0, **changes: Any
) -> float:
    """What a mean over seeds finds with these parts of its squared error."""
    numbers = ErrorNumbers(n_seeds, n_baseline_seeds, n_clusters)
    return kernels.detectable_difference_of_mean(ErrorParts(*parts), numbers, **changes)


def test_the_margin_of_a_mean_is_that_of_its_test(tiny_inputs: Path, store: Store) -> None:
    question = {**OVER_MEAN, "claim": "equivalent", "margin": 0.1}
    assumed = power(tiny_inputs, store, **question)
    squared = CHANGED_SHARE / assumed.n_answers
    parts, n = (SEEDS_SHARE * squared, 0.0, (1 - SEEDS_SHARE) * squared), assumed.n_clusters
    expected = mean_power(parts, n, claim="equivalent")
    assert (assumed.testable_margin, assumed.detectable) == (pytest.approx(expected), None)
    assert any("too small" in text for text in assumed.warnings())
    row = {"error_of_seeds": 0.001, "error_of_baseline_seeds": 0.0, "error_of_items": 0.002}
    store.write_record(assumed.question.identity.record(rows={"answers": [row]}))
    known = power(tiny_inputs, store, **question)
    expected = mean_power((1e-6, 0.0, 4e-6), n, claim="equivalent")
    assert (known.n_stored, known.testable_margin) == (1, pytest.approx(expected))
    assert not any("too small" in text for text in known.warnings())


def test_seeds_are_no_further_items(tiny_inputs: Path, store: Store) -> None:
    one, two = (power(tiny_inputs, store, **{**OVER_MEAN, "variants": name}) for name in ("magnitude", "random"))
    assert one.detectable is not None
    assert two.detectable is not None
    assert two.detectable > 2 * one.detectable
    item_error = (CHANGED_SHARE / one.n_answers) ** 0.5
    assert one.detectable > kernels.detectable_difference(item_error)
    two_sparsities = {**MAGNITUDE, "sparsity": [0.25, 0.5]}
    plan = plan_of(tiny_inputs, {**IN_ENGLISH, **OVER_MEAN, "variants": "magnitude"}, variants=[two_sparsities])
    assert power_of(plan.questions[0], store).detectable == pytest.approx(one.detectable / 2**0.5)


def test_a_mean_over_few_seeds_says_what_five_would_find(tiny_inputs: Path, store: Store) -> None:
    for claim in ({"claim": "noninferior", "margin": 0.1}, {}):
        of_two = power(tiny_inputs, store, **OVER_MEAN, **claim)
        squared = CHANGED_SHARE / of_two.n_answers
        parts = (SEEDS_SHARE * squared * 2 / 5, 0.0, (1 - SEEDS_SHARE) * squared)
        expected = mean_power(parts, of_two.n_clusters, n_seeds=5, claim=of_two.question.criterion.claim)
        assert of_two.found is not None
        assert of_two.ratio_of_five_seeds == pytest.approx(expected / of_two.found)
        (line,) = (text for text in of_two.warnings() if "5 seeds" in text)
        assert of_two.amount(expected) in line
    assert of_two.weakness is None
    plan = plan_of(tiny_inputs, {**IN_ENGLISH, **OVER_MEAN}, variants=[MAGNITUDE, RANDOM])
    of_many_questions = power_of(plan.questions[0], store, n_questions=20)
    assert of_many_questions.detectable is not None
    assert of_many_questions.detectable > 1
    assert of_many_questions.weakness is not None
    unknown = power(tiny_inputs, store, **{**OVER_MEAN, "languages": "en"}, metric="ece")
    assert (unknown.found, unknown.ratio_of_five_seeds) == (None, pytest.approx(of_two.ratio_of_five_seeds, abs=0.01))
    assert power(tiny_inputs, store, **{**OVER_MEAN, "variants": "magnitude"}).ratio_of_five_seeds is None
    assert power(tiny_inputs, store, variants="random", languages="all").ratio_of_five_seeds is None


def test_seeds_of_the_baseline_have_their_part(tiny_inputs: Path, store: Store) -> None:
    three: dict[str, Any] = {"name": "three", "score": "random", "sparsity": 0.5, "seed": [2, 3, 4]}
    question = {**QUESTION, **OVER_MEAN, "against": "three"}
    plan = plan_of(tiny_inputs, question, variants=[MAGNITUDE, RANDOM, three])
    asked = plan.questions[0]
    assert sorted(asked.seeds_of_pairs) == [(seed, other) for seed in (0, 1) for other in (2, 3, 4)]
    found = power_of(asked, store)
    squared = CHANGED_SHARE / found.n_answers
    parts = (SEEDS_SHARE / 2 * squared, SEEDS_SHARE / 2 * squared, (1 - SEEDS_SHARE) * squared)
    assert found.detectable == pytest.approx(mean_power(parts, found.n_clusters, n_baseline_seeds=3))
    assert found.ratio_of_five_seeds is not None


def test_all_primary_questions_of_a_recipe_share_the_level(tiny_inputs: Path, store: Store) -> None:
    question = {**IN_ENGLISH, "variants": "random", "languages": "all"}
    each = plan_of(tiny_inputs, question, variants=[MAGNITUDE, RANDOM]).questions[0]
    one, two = (power_of(each, store, n_questions=n) for n in (1, 2))
    assert (one.n_family, two.n_family) == (2, 4)
    assert one.smallest_significant is not None
    assert two.smallest_significant is not None
    assert one.smallest_significant < two.smallest_significant
    few = [replace(found, n_clusters=6) for found in (one, two)]
    assert [any("cannot decide" in text for text in found.warnings()) for found in few] == [False, True]
    mean = plan_of(tiny_inputs, {**IN_ENGLISH, **OVER_MEAN}, variants=[MAGNITUDE, RANDOM]).questions[0]
    found = power_of(mean, store, n_questions=10)
    squared = CHANGED_SHARE / found.n_answers
    parts = (SEEDS_SHARE * squared, 0.0, (1 - SEEDS_SHARE) * squared)
    assert found.detectable == pytest.approx(mean_power(parts, found.n_clusters, n_tests=10))
    margin = plan_of(tiny_inputs, {**IN_ENGLISH, "claim": "noninferior", "margin": 0.01}, variants=[MAGNITUDE])
    needed = [next(power_of(margin.questions[0], store, n_questions=n).warnings()) for n in (1, 10)]
    assert "about 299 independent items" in needed[0]
    assert f"about {kernels.items_for_margin(0.01, alpha=0.005)} independent items" in needed[1]


def test_margins_of_perplexity_are_ratios_and_need_results(tiny_inputs: Path, store: Store) -> None:
    corpus = {**FACTS, "task": "perplexity", "path": "corpus", "limit": 4}
    question = {**IN_ENGLISH, "task": "perplexity", "claim": "noninferior", "margin": 0.02}
    plan = plan_of(tiny_inputs, question, variants=[MAGNITUDE], evaluations=[corpus])
    asked = plan.questions[0]
    assert power_of(asked, store).testable_margin is None
    row = {"language": "en", "metric": "perplexity", "standard_error": 0.02}
    store.write_record(asked.comparisons[0].identity.record(rows={"comparison_results": [row]}))
    known = power_of(asked, store)
    expected = kernels.testable_margin_of_estimate(0.02, is_two_sided=False)
    assert known.testable_margin == pytest.approx(expected)
    assert known.amount(0.02) == "2.0 % of perplexity"
    assert known.amount(math.log(1.5)) == "50.0 % of perplexity"
    (warning,) = known.warnings()
    assert f"2.0 % of perplexity is too small: {known.amount(expected)} can be shown" in warning
