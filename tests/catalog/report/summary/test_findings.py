from collections.abc import Mapping
from typing import Any

import pytest

from catalog.report.labels import number
from catalog.report.summary.findings import (
    balance_finding,
    best_finding,
    comparison_finding,
    english_finding,
    gap_finding,
    holm_p_values,
)
from mlprune.numeric.evaluation.significance import holm


def best(language: str, difference: float | None, *, p_value: float | None = 0.001, **more: Any) -> Mapping[str, Any]:
    row = {"language": language, "difference": difference, "p_value": p_value, "sparsity": 0.3, "dense_value": 0.5}
    row |= {"test_value": None if difference is None else 0.5 + difference, "english_difference": -0.02}
    return row | {"difference_ci_low": None, "difference_ci_high": None} | more


def compared(opponent: str, mean: float, *, better: int, worse: int) -> Mapping[str, Any]:
    row = {
        "opponent": opponent,
        "settings": None,
        "mean_difference": mean,
        "n_comparisons": 10,
        "n_wins": 6,
        "n_losses": 4,
    }
    return row | {"n_significantly_better": better, "n_significantly_worse": worse}


def described(score: str, set_kind: str | None, accuracy: float, **more: Any) -> Mapping[str, Any]:
    shared = {"base_model_id": "m", "scoring_rule": "mean", "example_limit": None, "structure": "row", "sparsity": 0.3}
    shared["settings"] = None
    propagation = "dense" if set_kind else None
    return {**shared, "score": score, "set_kind": set_kind, "propagation": propagation, "accuracy": accuracy} | more


def test_a_significant_gain_is_reported_as_significant() -> None:
    finding = best_finding([best("fr", 0.1), best("sw", 0.05, p_value=0.5), best("en", -0.1)])
    assert (finding.answer, finding.tone) == ("+0.100 fr", "good")
    assert "in 2 of 2 languages, significantly in 1" in finding.sentence
    assert "0.600 and 0.500 for dense" in finding.sentence
    assert "lowest difference is +0.050 in sw" in finding.sentence
    assert "the mean over these languages is +0.075" in finding.sentence
    assert "lowest difference" not in best_finding([best("fr", 0.1)]).sentence


def test_a_loss_everywhere_is_reported_as_a_loss() -> None:
    finding = best_finding([best("fr", -0.1), best("sw", -0.05)])
    assert (finding.answer, finding.tone) == ("−0.050 sw", "bad")
    assert "in 0 of 2 languages, significantly in 0. Smallest loss: sw" in finding.sentence


def test_no_change_at_all_is_neither_a_gain_nor_a_loss() -> None:
    finding = best_finding([best("fr", 0.0, p_value=1.0), best("sw", -0.1)])
    assert (finding.answer, finding.tone) == ("0.000 fr", "open")


def test_a_gain_that_is_not_significant_is_left_open() -> None:
    assert best_finding([best("fr", 0.1, p_value=0.04), best("sw", 0.1, p_value=0.04)]).tone == "open"


def test_without_a_tested_language_the_finding_explains_what_the_recipe_lacks() -> None:
    for rows in ([], [best("fr", None, p_value=None)], [best("en", 0.1)]):
        finding = best_finding(rows)
        assert finding.answer == "–"
        assert "evaluations need both splits" in finding.sentence


def test_rows_without_a_p_value_are_not_in_the_family() -> None:
    rows = [best("fr", 0.1, p_value=0.01), best("sw", 0.1, p_value=None), best("es", 0.1, p_value=0.03)]
    assert holm_p_values(rows) == [holm([0.01, 0.03])[0], None, holm([0.01, 0.03])[1]]


def test_the_cost_in_english_is_the_mean_over_the_variants_chosen_for_other_languages() -> None:
    rows = [best("fr", 0.1, english_difference=-0.04), best("en", 0.1, english_difference=0.9)]
    rows.append(best("sw", 0.1, english_difference=0.0))
    cost = [
        {"sparsity": 0.5, "settings": None, "difference": -0.3, "n_variants": 1},
        {"sparsity": 0.5, "settings": None, "difference": -0.1, "n_variants": 3},
    ]
    finding = english_finding(rows, cost)
    assert (finding.answer, finding.tone) == ("−0.020 en", "bad")
    assert "by −0.040 to 0.000" in finding.sentence
    assert "by −0.150 at 0.5 sparsity" in finding.sentence
    equal = english_finding([best("fr", 0.1, english_difference=0.0), best("sw", 0.1, english_difference=0.0)], [])
    assert "English accuracy changes by 0.000." in equal.sentence


def test_without_english_the_finding_says_what_the_recipe_lacks() -> None:
    finding = english_finding([best("fr", 0.1, english_difference=None)], [])
    assert finding.answer == "–"
    assert "evaluations need en among languages" in finding.sentence


@pytest.mark.parametrize(
    ("mean", "better", "worse", "verdict", "tone"),
    [
        (0.1, 5, 0, "Translation demonstrations beat monolingual ones:", "good"),
        (-0.1, 0, 5, "Translation demonstrations lose to monolingual ones:", "bad"),
        (0.1, 0, 0, "Translation demonstrations show no clear difference to monolingual ones:", "open"),
        (0.1, 2, 3, "Translation demonstrations show no clear difference to monolingual ones:", "open"),
    ],
)
def test_the_verdict_follows_the_numbers(mean: float, better: int, worse: int, verdict: str, tone: str) -> None:
    rows = [compared("monolingual", mean, better=better, worse=worse), compared("random", 0.9, better=9, worse=0)]
    finding = comparison_finding(rows, "monolingual", "wanda", [])
    assert finding.sentence.startswith(verdict)
    assert (finding.answer, finding.tone) == (number(mean, signed=True), tone)


def test_without_paired_comparisons_the_means_are_described_but_not_judged() -> None:
    rows = [
        described("wanda", "translation", 0.6),
        described("wanda", "monolingual", 0.5),
        described("random", None, 0.3),
    ]
    rows += [described("wanda", "translation", 0.9, sparsity=0.7), described("contrast", "translation", 0.9)]
    monolingual, random = (comparison_finding([], name, "wanda", rows) for name in ("monolingual", "random"))
    assert (monolingual.answer, monolingual.tone) == ("+0.100", "open")
    assert "No paired comparison is stored" in monolingual.sentence
    assert "differ by +0.100" in monolingual.sentence
    assert random.answer == "+0.300"


def test_without_anything_to_compare_the_finding_says_so() -> None:
    finding = comparison_finding([], "random", "wanda", [described("wanda", "translation", 0.6)])
    assert finding.answer == "–"
    assert "pruned at the same sparsity" in finding.sentence


def test_comparisons_of_variants_with_other_settings_count_only_if_there_are_no_others_and_are_named() -> None:
    default = compared("random", 0.1, better=5, worse=0)
    other = {**compared("random", -0.9, better=0, worse=9), "settings": "removes the highest"}
    both = comparison_finding([default, other], "random", "wanda", [])
    assert (both.answer, both.tone) == ("+0.100", "good")
    assert "settings" not in both.sentence
    alone = comparison_finding([other], "random", "wanda", [])
    assert alone.answer == "−0.900"
    assert alone.sentence.endswith("Their settings: removes the highest.")


def test_the_average_cost_in_english_excludes_variants_with_other_settings_and_says_so() -> None:
    default = {"sparsity": 0.5, "settings": None, "difference": -0.1, "n_variants": 1}
    other = {"sparsity": 0.4321, "settings": "union of a and b", "difference": -0.3, "n_variants": 1}
    found = english_finding([], [default, other]).sentence
    assert (
        "Over all pruned variants with default settings, English changes on average by −0.100 at 0.5 sparsity" in found
    )
    assert "0.4321" not in found
    assert "by −0.300 at 0.4321" in english_finding([], [other]).sentence


def test_the_gap_becomes_smaller_where_english_gains_less_than_a_language() -> None:
    rows = [best("fr", 0.1, english_difference=-0.02), best("sw", -0.2, english_difference=-0.1)]
    rows += [best("en", 0.5, english_difference=0.5), best("es", None, english_difference=0.1)]
    finding = gap_finding(rows)
    assert finding.answer == "−0.010 gap"
    assert "in 1 of 2 languages. It changes by −0.010 on average, and most in fr, by −0.120." in finding.sentence
    assert gap_finding([best("en", 0.1)]).answer == "–"


def balanced(english: float, others: float, *, is_dense: bool = False, **more: Any) -> Mapping[str, Any]:
    row = {"scoring_rule": "mean", "example_limit": None, "languages": "en fr", "is_dense": is_dense, "sparsity": 0.5}
    row |= {"english_value": english, "others_value": others, "label": "v", "variant_id": "1"}
    return row | more


def test_variants_that_keep_both_are_counted_among_those_evaluated_like_dense() -> None:
    rows = [balanced(0.8, 0.5, is_dense=True), balanced(0.8, 0.5, sparsity=0.6, label="kept")]
    rows += [balanced(0.9, 0.4), balanced(0.7, 0.9), balanced(0.9, 0.9, languages="en sw")]
    finding = balance_finding(rows)
    assert finding.answer == "1 of 3"
    assert "removes 0.6: 0.800 in English, 0.500 in the others (kept)" in finding.sentence
    assert balance_finding(rows[1:]).answer == "–"
