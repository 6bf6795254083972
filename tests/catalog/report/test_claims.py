import math

import pytest

from catalog.report.claims import (
    answer_of,
    bound,
    change,
    change_interval,
    group_text,
    loss_bound,
    magnitude,
    p_text,
    question_text,
)
from tests.catalog.report.answer_rows import answered, family


def test_bounds_are_rounded_up_so_that_they_stay_bounds() -> None:
    assert bound(0.01971, "difference") == "2.0 points"
    assert bound(0.0201, "difference") == "2.1 points"
    assert bound(0.02, "difference") == "2.0 points"
    assert bound(math.log(1.02), "log_ratio") == "2.0 %"
    assert magnitude(0.0201, "difference") == "2.0 points"


def test_logarithms_of_ratios_are_shown_as_ratios() -> None:
    assert change(math.log(1.25), "log_ratio") == "×1.250"
    assert change(0.0125, "difference") == "+0.013"
    row = {"scale": "log_ratio", "ci_low": 0.0, "ci_high": math.log(2)}
    assert change_interval(row) == " (×1.000 to ×2.000)"


def test_an_interval_without_an_end_says_so() -> None:
    assert change_interval({"scale": "difference", "ci_low": None, "ci_high": 0.1}) == " (unbounded to +0.100)"
    assert change_interval({"scale": "difference", "ci_low": None, "ci_high": None}) == ""


def test_the_bound_of_a_loss_is_the_bad_end_of_the_90_percent_interval() -> None:
    ends = {"ci90_low": -0.03, "ci90_high": 1.01}
    assert loss_bound({"metric": "accuracy", "scale": "difference", **ends}) == 0.03
    assert loss_bound({"metric": "perplexity", "scale": "log_ratio", **ends}) == 1.01
    assert loss_bound({"metric": "accuracy", "scale": "difference", "ci90_low": None, "ci90_high": 0.0}) is None


def test_a_share_loses_at_most_all_of_it() -> None:
    assert loss_bound({"metric": "bleu", "scale": "difference", "ci90_low": -1.004, "ci90_high": -0.9}) == 1.0


def test_p_values_are_never_zero() -> None:
    assert p_text(0.0004) == "p < 0.001"
    assert p_text(0.041, "corrected") == "p = 0.041, corrected"
    assert p_text(None) == "no p-value"


@pytest.mark.parametrize(
    ("kind", "name", "text"),
    [
        ("outside_english", "", "outside English"),
        ("worst", "", "in the worst language"),
        ("language", "en", "in English"),
        ("language", "sw", "in sw"),
        ("script", "Latn", "in the languages written in Latn"),
    ],
)
def test_groups_of_languages_are_named(kind: str, name: str, text: str) -> None:
    assert group_text(answered(0.0, group_kind=kind, group_name=name)) == text


def test_a_question_names_variants_baseline_group_task_and_metric() -> None:
    asked = "outside English (facts, accuracy)?"
    assert question_text(answered(0.0)) == f"Is a variant of translation better than dense {asked}"
    assert question_text(answered(0.0, variants="")) == f"Is any variant better than dense {asked}"
    same = answered(0.0, variants="", claim="equivalent", margin=0.02)
    assert question_text(same) == f"Do pruned variants and dense differ by less than 2.0 points {asked}"
    assert question_text(answered(0.0, over="mean")) == f"Is translation on average better than dense {asked}"
    margin = {"margin": 0.02}
    assert (
        question_text(answered(0.0, claim="noninferior", **margin))
        == f"Does translation lose less than 2.0 points against dense {asked}"
    )
    assert (
        question_text(answered(0.0, claim="equivalent", against="monolingual", **margin))
        == f"Do translation and monolingual differ by less than 2.0 points {asked}"
    )


def test_a_gain_is_claimed_only_if_its_corrected_test_supports_it() -> None:
    rows = family(answered(0.03, p_value=0.01), answered(0.05, p_value=0.3, label="largest"), answered(-0.01))
    answer, sentence, tone = answer_of(rows)
    assert (answer, tone) == ("1 of 3", "good")
    assert "1 of 3 variants is significantly better than dense outside English." in sentence
    assert "+0.050 (+0.040 to +0.070) for largest (p = 0.300, corrected for 3 tests), is the best of 3" in sentence


def test_without_a_significant_gain_the_sentence_says_what_could_have_been_found() -> None:
    rows = family(answered(0.03), answered(-0.04, p_value=0.001, detectable_difference=0.034))
    answer, sentence, tone = answer_of(rows)
    assert (answer, tone) == ("none of 2", "open")
    assert "1 of 2 is significantly worse." in sentence
    assert (
        "In this family of 2, a gain of less than 1.2 points cannot pass the first test of Holm's correction"
        in sentence
    )
    assert "a true difference of 2.0 to 3.4 points, depending on the variant, is found with a power of 80 %" in sentence
    assert answer_of(family(*[answered(-0.04, p_value=0.001)] * 2))[2] == "bad"


def test_a_loss_is_never_called_the_best_difference() -> None:
    """Everything is worse, for a metric of which higher is better and for one of which lower is."""
    for sign, metric, scale, smallest in (
        (1, "accuracy", "difference", "−0.010"),
        (-1, "perplexity", "log_ratio", "×1.010"),
    ):
        lost = {"metric": metric, "scale": scale, "is_supported": False, "p_value": 0.001}
        rows = family(answered(-0.2 * sign, **lost), answered(-0.01 * sign, label="closest", **lost))
        answer, sentence, tone = answer_of(rows)
        assert (answer, tone) == ("none of 2", "bad")
        assert "2 of 2 are significantly worse. No estimate is a gain: all 2 are losses" in sentence
        assert f"the smallest is {smallest} (" in sentence
        assert "for closest (p = 0.001, corrected for 2 tests)" in sentence
        assert "best" not in sentence


def test_equal_results_are_not_called_the_best_difference() -> None:
    same = answered(0.0, p_value=1.0)
    assert "No estimate is a gain: all 2 differences are 0.000." in answer_of(family(same, same))[1]
    answer, sentence, tone = answer_of(family(same, answered(-0.1), same))
    assert (answer, tone) == ("none of 3", "open")
    assert "No estimate is a gain: 2 of 3 differences are 0.000, the others are losses." in sentence


def test_the_best_ratio_is_the_lowest() -> None:
    ratio = {"metric": "perplexity", "scale": "log_ratio"}
    rows = family(
        answered(-0.0953, p_value=0.01, is_supported=True, label="lower", **ratio),
        answered(0.0953, p_value=0.01, is_supported=False, label="higher", **ratio),
    )
    answer, sentence, tone = answer_of(rows)
    assert (answer, tone) == ("1 of 2", "good")
    assert "1 of 2 is significantly worse. The best difference, ×0.909" in sentence
    assert "for lower (p = 0.010, corrected for 2 tests)" in sentence


@pytest.mark.parametrize(
    ("difference", "p_value", "verdict", "tone"),
    [
        (0.1, 0.01, "is significantly better than dense", "good"),
        (0.1, 0.2, "is not significantly different from dense", "open"),
        (-0.1, 0.01, "is significantly worse than dense", "bad"),
    ],
)
def test_the_verdict_on_a_mean_follows_its_test(difference: float, p_value: float, verdict: str, tone: str) -> None:
    row = answered(difference, p_value=p_value, over="mean", n_variants=15, label=None)
    answer, sentence, found = answer_of([row])
    assert found == tone
    assert answer in sentence
    assert f"On average over 15 variants, translation {verdict} outside English" in sentence
    assert ("a gain of less than 1.2 points cannot be significant" in sentence) is (tone == "open")


def test_lower_is_better_for_perplexity_and_ratios_are_shown() -> None:
    row = answered(-0.0953, p_value=0.01, metric="perplexity", scale="log_ratio", is_supported=True)
    assert answer_of([row])[::2] == ("×0.909", "good")
    worse = answered(0.0953, p_value=0.01, metric="perplexity", scale="log_ratio", is_supported=False)
    assert answer_of([worse])[::2] == ("×1.100", "bad")


def noninferior(difference: float, **more: object) -> dict[str, object]:
    english = {"claim": "noninferior", "margin": 0.02, "group_kind": "language", "group_name": "en"}
    return answered(difference, p_value=1.0, **english) | {"p_margin_corrected": 0.01, "is_supported": True} | more


def test_a_loss_of_nothing_is_reported_with_its_bound() -> None:
    answer, sentence, tone = answer_of([noninferior(0.0, ci90_low=-0.01971)])
    assert (answer, tone) == ("at most 2.0 points", "good")
    assert "English pays at most 2.0 points (one-sided 95 % bound): less than the margin of 2.0 points" in sentence
    assert "0.000 (−0.010 to +0.020), p = 0.010" in sentence
    answer, sentence, tone = answer_of([noninferior(0.0, ci90_low=-0.031, is_supported=False)])
    assert (answer, tone) == ("at most 3.1 points", "open")
    assert ": a loss of the margin of 2.0 points is not excluded" in sentence
    sentence = answer_of([noninferior(0.0, ci90_low=-0.01971, is_supported=False)])[1]
    assert ": after correction a loss of the margin of 2.0 points is not excluded" in sentence
    sentence = answer_of([noninferior(0.0, ci90_low=-0.01971, is_supported=False, p_margin_corrected=None)])[1]
    assert ": a loss of the margin of 2.0 points is not excluded" in sentence


def test_the_bounds_of_a_family_are_those_of_the_supported_variants() -> None:
    lost = noninferior(-0.2, is_supported=False, p_corrected=0.001)
    rows = family(noninferior(0.0, ci90_low=-0.0151), noninferior(0.0, ci90_low=-0.019), lost)
    answer, sentence, tone = answer_of(rows)
    assert (answer, tone) == ("2 of 3", "open")
    assert "2 of 3 variants lose less than 2.0 points against dense in English" in sentence
    assert "English pays at most 1.6 to 1.9 points, depending on the variant" in sentence
    assert "1 of 3 is significantly worse." in sentence
    none = answer_of(family(lost, noninferior(-0.01, is_supported=False, ci90_low=-0.05)))
    assert none[0] == "none of 2"
    assert "smallest one-sided 95 % bound of a loss is 5.0 points" in none[1]
    answer, sentence, tone = answer_of(family(lost, lost))
    assert (answer, tone) == ("none of 2", "bad")
    assert sentence.endswith("in English. 2 of 2 are significantly worse.")


def equivalent(difference: float, **more: object) -> dict[str, object]:
    claim = {"claim": "equivalent", "margin": 0.02, "over": "mean", "against": "monolingual", "n_variants": 15}
    return answered(difference, label=None, **claim) | {"p_margin_corrected": 0.001, "is_supported": True} | more


def test_equivalence_is_reported_with_the_smallest_margin_that_the_data_support() -> None:
    answer, sentence, tone = answer_of([equivalent(-0.0039, ci90_low=-0.0106, ci90_high=0.0027)])
    assert (answer, tone) == ("less than 1.1 points", "good")
    assert "translation differs from monolingual by less than 1.1 points outside English" in sentence
    assert "90 % interval −0.011 to +0.003), within the margin of 2.0 points: TOST p = 0.001" in sentence


def test_without_equivalence_no_difference_is_claimed_either_unless_its_test_finds_one() -> None:
    unclear = equivalent(-0.0039, is_supported=False, p_margin_corrected=0.3)
    answer, sentence, tone = answer_of([unclear])
    assert (answer, tone) == ("−0.004", "open")
    assert "not shown to differ from monolingual by less than 2.0 points" in sentence
    assert "Nor is a difference shown." in sentence
    assert "The difference is significant (p = 0.010)" in answer_of([{**unclear, "p_corrected": 0.01}])[1]
    assert answer_of(family(unclear, equivalent(0.0)))[0] == "1 of 2"


def test_an_answer_names_what_else_differs() -> None:
    _, sentence, _ = answer_of([answered(0.03, p_value=0.01, against="english", differs_in="language, seed")])
    assert "also differ in language, seed" in sentence


def test_a_question_without_room_is_grey_and_says_why() -> None:
    unasked = {"verdict": "cannot be asked", "verdict_reason": "dense is at chance", "is_supported": False}
    answer, sentence, tone = answer_of([noninferior(0.0, **unasked)])
    assert (answer, tone) == ("cannot be asked", "soft")
    assert sentence.startswith("Dense is at chance in English")
    answer, sentence, _ = answer_of([noninferior(0.0, **unasked), noninferior(0.0), noninferior(0.01)])
    assert answer == "2 of 2"
    assert sentence.endswith("Of 1 more it cannot be asked.")


def test_an_answer_names_differences_below_the_noise_of_the_arithmetic() -> None:
    rows = [answered(difference, p_value=0.6, arithmetic_noise=0.004) for difference in (0.003, -0.02)]
    _, sentence, _ = answer_of(rows)
    assert "1 of 2 differences are below 0.004" in sentence
    _, sentence, _ = answer_of([answered(0.003, p_value=0.6, arithmetic_noise=None)])
    assert "processor" not in sentence
