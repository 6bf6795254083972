import math

from catalog.report.summary.amounts import bound, change, change_interval, loss_bound, magnitude, p_text


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
    assert p_text(0.041, "max-T") == "p = 0.041, max-T"
    assert p_text(None) == "no p-value"
