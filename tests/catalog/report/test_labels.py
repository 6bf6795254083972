import re
from datetime import datetime
from html import unescape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.report.labels import (
    attributes,
    cell,
    facets_of,
    from_id,
    matches_filters,
    number,
    p_value,
    set_label,
    task_label,
    text_range,
    to_id,
    with_interval,
)
from tests.catalog.report.reading import ATTACK
from tests.catalog.report.rows import DENSE, POINT


def test_the_label_of_a_set_has_its_languages_and_a_seed_other_than_0() -> None:
    assert set_label("translation", "fr", "en", seed=0) == "fr-en"
    assert set_label("monolingual", "fr", None, seed=3) == "fr s3"
    assert set_label("code", None, None) == "code"
    assert set_label("translation", "fr", "en", profile="paper") == "fr-en paper"
    assert set_label("translation", "fr", "en", profile="corrected") == "fr-en"
    assert set_label("task", "fr", None) == "task fr"
    assert set_label("text", None, None) == "text"


def test_the_label_of_a_task_has_its_limit_and_its_rule() -> None:
    row = {"base_model": "tiny", "task": "facts", "split": "dev", "scoring_rule": "sum", "example_limit": 10}
    assert task_label(row) == "tiny · facts, dev split, 10 examples"
    assert task_label(row, with_rule=True) == "tiny · facts, dev split, sum rule, 10 examples"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.12345, "+0.123"), (-0.5, "−0.500"), (0.0001, "0.000"), (-0.0001, "0.000"), (None, "–"), (float("inf"), "–")],
)
def test_a_signed_number_has_a_true_minus_and_zero_has_no_sign(value: float | None, text: str) -> None:
    assert number(value, signed=True) == text


def test_a_tiny_p_value_is_bounded_instead_of_rounded_to_zero() -> None:
    assert [p_value(value) for value in (0.0, 0.0009, 0.001, None)] == ["<0.001", "<0.001", "0.001", "–"]


def test_cells_hold_values_to_twelve_digits_and_nothing_for_null() -> None:
    values = (None, float("nan"), 0.1 + 0.2, 1 / 3, 10**15, datetime(2026, 2, 3, 4, 5), True)
    assert [cell(value) for value in values] == [
        "",
        "",
        "0.3",
        "0.333333333333",
        "1000000000000000",
        "2026-02-03T04:05:00",
        "True",
    ]


def test_the_last_bits_of_a_sum_are_not_shown() -> None:
    assert number(0.0625) == number(0.0625 + 2e-17) == number(0.0625 - 1e-16) == number(0.0625 + 1e-16)


def test_an_interval_follows_its_value_if_both_ends_are_known() -> None:
    assert with_interval(0.5, 0.4, 0.6) == "0.500 (0.400 to 0.600)"
    assert with_interval(0.02, -0.01, 0.05, signed=True) == "+0.020 (−0.010 to +0.050)"
    assert with_interval(0.5, None, 0.6) == with_interval(0.5, 0.4, None) == "0.500"


def test_the_unit_of_a_range_is_written_once() -> None:
    assert text_range("1.0 points", "2.0 points") == "1.0 to 2.0 points"
    assert text_range("1.0 points", "1.0 points") == "1.0 points"
    assert text_range("0.100", "0.200") == "0.100 to 0.200"


def test_the_facets_of_a_row_are_its_columns() -> None:
    one = {**POINT, "demonstration_label": "fr-en", "is_mean_over_pairs": False}
    assert facets_of(one) == {"model": "tiny", "task": "xnli", "score": "wanda", "pair": "fr-en", "detail": ""}
    assert facets_of(POINT, only=("score", "pair")) == {"score": "wanda", "mean": ""}
    assert facets_of(POINT, only=("score",)) == {"score": "wanda"}


def test_the_dense_model_and_methods_without_demonstrations_match_every_pair() -> None:
    assert facets_of(DENSE, only=("score", "pair")) == {}
    random = {**POINT, "score": "random", "is_mean_over_pairs": False}
    assert facets_of(random, only=("score", "pair")) == {"score": "random"}


def test_an_element_of_two_pairs_is_shown_if_either_is_chosen() -> None:
    both = facets_of({"demonstration_label": "es", "other_demonstration_label": "fr-en"}, only=("pair",))
    assert matches_filters(both, {"pair": ["es"]})
    assert matches_filters(both, {"pair": ["fr-en", "sw"]})
    assert not matches_filters(both, {"pair": ["sw"]})
    assert facets_of({"demonstration_label": "es", "other_demonstration_label": "es"}, only=("pair",)) == {"pair": "es"}


def test_a_run_time_baseline_has_a_filter_value_as_score() -> None:
    assert facets_of({"intervention": "lrp2", "score": None}) == {"score": "lrp2"}


def test_an_element_of_one_pair_is_hidden_until_the_pair_is_chosen() -> None:
    assert attributes({"pair": "fr-en", "detail": ""}) == ' data-pair="fr-en" data-detail data-off'
    assert attributes({"score": "wanda", "mean": ""}) == ' data-score="wanda" data-mean'


def test_attributes_are_escaped() -> None:
    (value,) = re.findall(r'^ data-task="([^"<>]*)"$', attributes({"task": ATTACK}))
    assert unescape(value) == ATTACK


@settings(max_examples=25)
@given(st.dictionaries(st.sampled_from(["score", "pair", "detail"]), st.text()))
def test_an_id_is_read_back_as_it_was_written(facets: dict[str, str]) -> None:
    name = to_id(facets)
    assert "'" not in name
    assert '"' not in name
    assert from_id(name.replace("&", "&amp;")) == facets


def test_other_ids_have_no_facets() -> None:
    assert from_id("line2d_5") is None


def test_values_of_a_filter_are_alternatives_and_filters_narrow_each_other() -> None:
    line = {"score": "wanda", "pair": "fr-en", "detail": ""}
    assert matches_filters(line, {"pair": ["es-en", "fr-en"], "score": ["wanda"], "task": ["facts"]})
    assert not matches_filters(line, {"pair": ["es-en"]})
    assert not matches_filters(line, {"pair": ["fr-en"], "score": ["random"]})
    assert not matches_filters(line, {})
    assert matches_filters({}, {"pair": ["fr-en"], "score": ["wanda"]})


def test_means_are_replaced_by_the_chosen_pairs() -> None:
    assert matches_filters({"score": "wanda", "mean": ""}, {"pair": []})
    assert not matches_filters({"score": "wanda", "mean": ""}, {"pair": ["fr-en"]})
