import math

import pytest

from catalog.report.claims import (
    answer_sentences,
    bound,
    change,
    change_interval,
    estimate_text,
    group_text,
    loss_bound,
    magnitude,
    p_text,
    verdict_text,
)
from tests.catalog.report.answer_rows import answered, family, question


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


def test_a_gain_is_claimed_only_if_its_corrected_test_supports_it() -> None:
    rows = family(answered(0.03, p_value=0.01), answered(0.05, p_value=0.3, label="largest"), answered(-0.01))
    sentence = answer_sentences(rows)
    assert "1 of 3 variants is significantly better than dense outside English." in sentence
    assert "+0.050 (+0.040 to +0.070) for largest (p = 0.300, corrected for 3 tests), is the best of 3" in sentence


def test_without_a_significant_gain_the_sentence_says_what_could_have_been_found() -> None:
    sentence = answer_sentences(family(answered(0.03), answered(-0.04, p_value=0.001, detectable_difference=0.034)))
    assert "1 of 2 is significantly worse." in sentence
    assert (
        "In this family of 2, a gain of less than 1.2 points cannot pass the first test of Holm's correction"
        in sentence
    )
    assert "a true difference of 2.0 to 3.4 points, depending on the variant, is found with a power of 80 %" in sentence


def test_a_loss_is_never_called_the_best_difference() -> None:
    """Everything is worse, for a metric of which higher is better and for one of which lower is."""
    for sign, metric, scale, smallest in (
        (1, "accuracy", "difference", "−0.010"),
        (-1, "perplexity", "log_ratio", "×1.010"),
    ):
        lost = {"metric": metric, "scale": scale, "verdict": "no", "p_value": 0.001, "n_family": 2}
        rows = [answered(-0.2 * sign, **lost, place=2), answered(-0.01 * sign, label="closest", **lost)]
        sentence = answer_sentences(rows)
        assert "2 of 2 are significantly worse. No estimate is a gain: all 2 are losses" in sentence
        assert f"the smallest is {smallest} (" in sentence
        assert "for closest (p = 0.001, corrected for 2 tests)" in sentence
        assert "best" not in sentence


def test_equal_results_are_not_called_the_best_difference() -> None:
    same = answered(0.0, p_value=1.0)
    assert "No estimate is a gain: all 2 differences are 0.000." in answer_sentences(family(same, same))
    sentence = answer_sentences(family(same, answered(-0.1), same))
    assert "No estimate is a gain: 2 of 3 differences are 0.000, the others are losses." in sentence


def test_the_best_of_several_is_that_in_the_first_place() -> None:
    ratio = {"metric": "perplexity", "scale": "log_ratio", "n_family": 2}
    rows = [
        answered(0.0953, p_value=0.01, verdict="no", label="higher", place=2, **ratio),
        answered(-0.0953, p_value=0.01, verdict="yes", label="lower", **ratio),
    ]
    sentence = answer_sentences(rows)
    assert "1 of 2 is significantly worse. The best difference, ×0.909" in sentence
    assert "for lower (p = 0.010, corrected for 2 tests)" in sentence


@pytest.mark.parametrize(
    ("difference", "p_value", "relation"),
    [
        (0.1, 0.01, "is significantly better than dense"),
        (0.1, 0.2, "is not significantly different from dense"),
        (-0.1, 0.01, "is significantly worse than dense"),
    ],
)
def test_the_sentence_about_a_mean_follows_its_test(difference: float, p_value: float, relation: str) -> None:
    sentence = answer_sentences([answered(difference, p_value=p_value, over="mean", n_variants=15, label=None)])
    assert f"On average over 15 variants, translation {relation} outside English" in sentence
    assert ("a gain of less than 1.2 points cannot be significant" in sentence) is (p_value > 0.05)


def test_lower_is_better_for_perplexity_and_ratios_are_shown() -> None:
    ratio = {"metric": "perplexity", "scale": "log_ratio"}
    assert "significantly better than dense outside English: ×0.909" in answer_sentences(
        [answered(-0.0953, p_value=0.01, **ratio)]
    )
    assert "significantly worse than dense outside English: ×1.100" in answer_sentences(
        [answered(0.0953, p_value=0.01, **ratio)]
    )


def noninferior(difference: float, **more: object) -> dict[str, object]:
    english = {"claim": "noninferior", "margin": 0.02, "group_kind": "language", "group_name": "en", "ci_level": 0.9}
    return answered(difference, p_value=1.0, **english) | {"p_margin_corrected": 0.01, "verdict": "yes"} | more


def test_a_loss_of_nothing_is_reported_with_its_bound() -> None:
    sentence = answer_sentences([noninferior(0.0, ci90_low=-0.01971)])
    assert "English pays at most 2.0 points (one-sided 95 % bound): less than the margin of 2.0 points" in sentence
    assert "0.000 (−0.010 to +0.020), p = 0.010" in sentence
    sentence = answer_sentences([noninferior(0.0, ci90_low=-0.031, verdict="not shown")])
    assert ": a loss of the margin of 2.0 points is not excluded" in sentence
    sentence = answer_sentences([noninferior(0.0, ci90_low=-0.01971, verdict="not shown")])
    assert ": after correction a loss of the margin of 2.0 points is not excluded" in sentence
    sentence = answer_sentences([noninferior(0.0, ci90_low=-0.01971, verdict="exploratory", p_margin_corrected=None)])
    assert ": a loss of the margin of 2.0 points is not excluded" in sentence
    sentence = answer_sentences([noninferior(-0.2, ci90_low=-0.3, verdict="no")])
    assert ": the loss is larger than the margin of 2.0 points" in sentence


def test_the_bounds_of_a_family_are_those_of_the_supported_variants() -> None:
    lost = noninferior(-0.2, verdict="no", p_corrected=0.001)
    sentence = answer_sentences(family(noninferior(0.0, ci90_low=-0.0151), noninferior(0.0, ci90_low=-0.019), lost))
    assert "2 of 3 variants lose less than 2.0 points against dense in English" in sentence
    assert "English pays at most 1.6 to 1.9 points, depending on the variant" in sentence
    assert "1 of 3 loses more. 1 of 3 is significantly worse." in sentence
    sentence = answer_sentences(family(lost, noninferior(-0.01, verdict="not shown", ci90_low=-0.05)))
    assert sentence.startswith("None of 2 variants is shown to lose less")
    assert "smallest one-sided 95 % bound of a loss is 5.0 points" in sentence
    sentence = answer_sentences(family(lost, lost))
    assert sentence.endswith("in English. 2 of 2 lose more. 2 of 2 are significantly worse.")


def equivalent(difference: float, **more: object) -> dict[str, object]:
    claim = {"claim": "equivalent", "margin": 0.02, "over": "mean", "against": "monolingual", "n_variants": 15}
    return (
        answered(difference, label=None, ci_level=0.9, **claim) | {"p_margin_corrected": 0.001, "verdict": "yes"} | more
    )


def test_equivalence_is_reported_with_the_smallest_margin_that_the_data_support() -> None:
    sentence = answer_sentences([equivalent(-0.0039, ci90_low=-0.0106, ci90_high=0.0027)])
    assert "translation differs from monolingual by less than 1.1 points outside English" in sentence
    assert "90 % interval −0.011 to +0.003), within the margin of 2.0 points: TOST p = 0.001" in sentence


def test_without_equivalence_no_difference_is_claimed_either_unless_its_test_finds_one() -> None:
    unclear = equivalent(-0.0039, verdict="not shown", p_margin_corrected=0.3)
    sentence = answer_sentences([unclear])
    assert "not shown to differ from monolingual by less than 2.0 points" in sentence
    assert "Nor is a difference shown." in sentence
    assert "The difference is significant (p = 0.010)" in answer_sentences([{**unclear, "p_corrected": 0.01}])
    beyond = equivalent(-0.2, verdict="no", p_opposite_corrected=0.004)
    assert "differs from monolingual by at least 2.0 points outside English" in answer_sentences([beyond])
    assert answer_sentences(family(unclear, equivalent(0.0), beyond)).endswith("1 of 3 differs by more.")


def test_an_answer_names_what_else_differs() -> None:
    sentence = answer_sentences([answered(0.03, p_value=0.01, against="english", differs_in="language, seed")])
    assert "also differ in language, seed" in sentence


def test_a_question_without_room_says_why() -> None:
    unasked = {"verdict": "cannot be asked", "verdict_reason": "dense is at chance"}
    assert answer_sentences([noninferior(0.0, **unasked)]).startswith("Dense is at chance in English")
    sentence = answer_sentences([noninferior(0.0, **unasked), noninferior(0.0), noninferior(0.01)])
    assert sentence.startswith("2 of 2 variants lose less")
    assert sentence.endswith("Of 1 more it cannot be asked.")


def test_the_estimate_of_a_question_names_the_level_of_its_interval() -> None:
    def text(row: dict[str, object], **more: object) -> str:
        return estimate_text(row | question("yes", **more)).replace("\N{MINUS SIGN}", "-")

    assert text(answered(0.01, p_value=0.4)) == "+1.0 points (95 % 0.0 to +3.0), p = 0.400"
    assert text(answered(0.01, p_value=0.4), n_answers=3).startswith("best of 3: +1.0 points (95 % ")
    assert text(noninferior(-0.01)) == "-1.0 points (90 % -1.8 to +0.8), margin 2.0 points, p = 0.010"
    lost = noninferior(-0.2, verdict="no", p_opposite_corrected=0.004)
    assert text(lost).endswith("margin 2.0 points, p = 0.004 (opposite)")
    assert text(answered(0.01, p_corrected=None)).endswith("p = 0.200 (not corrected)")
    ratio = answered(math.log(0.9), metric="perplexity", scale="log_ratio", ci_low=math.log(0.8), ci_high=0.0)
    assert text(ratio) == "×0.900 (95 % ×0.800 to ×1.000), p = 0.200"


def test_a_question_of_which_nothing_can_be_asked_has_the_reason_next_to_its_verdict() -> None:
    assert verdict_text(question("no")) == "no"
    some = question("not shown 1, cannot be asked 1 of 2", n_answers=2, n_not_askable=1, reason="dense is at chance")
    assert verdict_text(some) == "not shown 1, cannot be asked 1 of 2"
    none = question("cannot be asked", n_not_askable=1, reason="dense is at chance")
    assert verdict_text(none) == "cannot be asked: dense is at chance"


def test_an_answer_names_differences_below_the_noise_of_the_arithmetic() -> None:
    rows = [answered(difference, p_value=0.6, arithmetic_noise=0.004) for difference in (0.003, -0.02)]
    sentence = answer_sentences(rows)
    assert "1 of 2 differences are below 0.004" in sentence
    sentence = answer_sentences([answered(0.003, p_value=0.6, arithmetic_noise=None)])
    assert "processor" not in sentence
