"""What questions can find before their run."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlprune.numeric.statistics import power as kernels
from mlprune.steps.questions.power import CHANGED_SHARE, Power, power_of
from mlprune.store.store import Store
from tests.mlprune.steps.questions.test_asked import FACTS, QUESTION, plan_of

MAGNITUDE: dict[str, Any] = {"name": "magnitude", "score": "magnitude", "sparsity": 0.5}
RANDOM: dict[str, Any] = {"name": "random", "score": "random", "sparsity": 0.5, "seed": [0, 1]}
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


def test_the_margin_of_a_mean_is_that_of_its_standard_error(tiny_inputs: Path, store: Store) -> None:
    changes = {"variants": "random", "languages": "outside_english", "over": "mean"}
    question = {**changes, "claim": "equivalent", "margin": 0.1}
    assumed = power(tiny_inputs, store, **question)
    error = (CHANGED_SHARE / (2 * assumed.n_answers)) ** 0.5
    expected = kernels.testable_margin_of_estimate(error, is_two_sided=True)
    assert (assumed.testable_margin, assumed.smallest_significant) == (pytest.approx(expected), None)
    assert any("too small" in text for text in assumed.warnings())
    row = {"standard_error": 0.001}
    store.write_record(assumed.question.identity.record(rows={"answers": [row]}))
    known = power(tiny_inputs, store, **question)
    assert (known.n_stored, known.testable_margin) == (
        1,
        pytest.approx(kernels.testable_margin_of_estimate(0.001, is_two_sided=True)),
    )
    assert not any("too small" in text for text in known.warnings())


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
