import re
from html import unescape

from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.report.filters import attributes, facets_of, from_id, matches_filters, to_id
from tests.catalog.report.reading import ATTACK
from tests.catalog.report.rows import DENSE, POINT


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
