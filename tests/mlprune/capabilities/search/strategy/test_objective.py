"""Objectives of a search: parsing and values."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mlprune.capabilities.search.strategy.objective import (
    Expression,
    Group,
    Lookup,
    Measure,
    Node,
    Number,
    Operation,
    Share,
    parse_group,
)
from mlprune.capabilities.search.strategy.objective_parser import parse_constraint, parse_objective
from mlprune.errors import RecipeError
from tests.refusals import refused


@pytest.mark.parametrize(
    ("text", "group"),
    [
        ("outside_english", Group("outside_english")),
        ("worst", Group("worst")),
        ("english", Group("language", "en")),
        ("fra_Latn", Group("language", "fr")),
        ("zh-Hant", Group("language", "zh-Hant")),
        ("pt-BR", Group("language", "pt-BR")),
        ("fr-en", Group("language", "fr-en")),
        ("pt-BR-en", Group("language", "pt-BR-en")),
        ("script:Latn", Group("script", "Latn")),
        ("class:2", Group("resource_class", "2")),
        ("resource_class:2", Group("resource_class", "2")),
    ],
)
def test_names_of_groups_are_those_of_the_recipe(text: str, group: Group) -> None:
    assert parse_group(text) == group
    assert parse_group(str(group)) == group


@pytest.mark.parametrize("text", ["accuracy", "script:latin", "class:7", "f", ""])
def test_other_names_are_not_groups(text: str) -> None:
    assert parse_group(text) is None


TRIAL = {"english": 0.8, "fr": 0.5, "worst": 0.2, "perplexity(all)": 20.0, "kept": 0.3}
DENSE = {"english": 0.81, "fr": 0.5, "worst": 0.4, "perplexity(all)": 10.0, "kept": 1.0}


def lookup_in(values: dict[str, float]) -> Lookup:
    """Look up scalars by the text of a measure."""
    return lambda measure: np.asarray(values[str(measure)])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("fr - 0.1 * kept", 0.5 - 0.1 * 0.3),
        ("fr - 0.1 - 0.2", 0.5 - 0.1 - 0.2),
        ("fr - (0.1 - 0.2)", 0.5 - (0.1 - 0.2)),
        ("2 + 3 * fr", 3.5),
        ("-fr * -2", 1.0),
        ("min(fr, worst) + max(fr, 2 * worst)", 0.7),
        ("-log(perplexity(all))", -math.log(20)),
        ("sparsity * 10", 7.0),
    ],
)
def test_expressions_have_the_value_of_ordinary_arithmetic(text: str, value: float) -> None:
    assert parse_objective(text).value(lookup_in(TRIAL)) == pytest.approx(value, rel=1e-15)


def test_values_are_computed_elementwise_on_arrays() -> None:
    samples: NDArray[np.float64] = np.array([[0.1, 0.5], [0.9, 0.0]])

    def lookup(measure: object) -> NDArray[np.float64]:
        return np.asarray(0.5) if measure == "kept" else samples

    np.testing.assert_array_equal(parse_objective("max(fr, 0.4) * kept").value(lookup), np.maximum(samples, 0.4) * 0.5)


def test_the_logarithm_of_zero_is_minus_infinity() -> None:
    assert parse_objective("log(fr)").value(lookup_in({"fr": 0.0})) == -math.inf


def test_measures_are_listed_once_in_the_order_of_the_text() -> None:
    expression = parse_objective("xnli.accuracy(fr) - kept * (worst - max(worst, xnli.accuracy(fr)))")
    assert [str(measure) for measure in expression.measures] == ["xnli.accuracy(fr)", "worst"]
    assert expression.reads_kept


@pytest.mark.parametrize(
    ("text", "violation"),
    [
        ("english >= dense - 0.02", 0.0),
        ("english >= dense - 0.01", 0.0),  # 0.8 and 0.81 - 0.01, which differ by rounding only
        ("worst >= dense - 0.1", 0.1),
        ("perplexity(all) <= 1.5 * dense", 5.0),
        ("perplexity(all) - 10 <= 2 * dense + 3", 7.0),
        ("sparsity >= 0.75", 0.05),
        ("fr >= english - 0.1", 0.2),
    ],
)
def test_a_violation_is_the_amount_by_which_a_constraint_is_missed(text: str, violation: float) -> None:
    constraint = parse_constraint(text)
    assert constraint.violation(lookup_in(TRIAL), dense=lookup_in(DENSE)) == pytest.approx(violation, rel=1e-12)


def test_a_side_that_is_not_a_number_violates_infinitely() -> None:
    constraint = parse_constraint("fr >= 0.1")
    violations = constraint.violation(lambda _: np.array([math.nan, math.inf, -math.inf]), dense=lookup_in(DENSE))
    np.testing.assert_array_equal(violations, [math.inf, 0.0, math.inf])


MEASURES = [
    Measure(None, None, Group("language", "zh-Hant")),
    Measure(None, "f1_macro", Group("script", "Cyrl")),
    Measure("my-task", "rank_consistency", Group("worst")),
]


def nodes() -> st.SearchStrategy[Node]:
    """Expressions without the word dense."""
    numbers = st.floats(0, 1e20, allow_nan=False).map(lambda value: Number(value + 0.0))
    leaves = st.one_of(st.sampled_from([*MEASURES, Share("kept"), Share("sparsity")]), numbers)

    def operations(children: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
        two = st.tuples(st.sampled_from(["add", "subtract", "multiply", "min", "max"]), st.tuples(children, children))
        one = st.tuples(st.sampled_from(["negative", "log"]), st.tuples(children))
        return st.one_of(two, one).map(lambda parts: Operation(*parts))

    return st.recursive(leaves, operations, max_leaves=8)


@settings(deadline=None, max_examples=25)
@given(nodes())
def test_the_canonical_text_is_parsed_to_the_same_expression(node: Node) -> None:
    expression = Expression(Operation("add", (Share("kept"), node)))
    assert parse_objective(str(expression)) == expression


def test_spaces_and_needless_parentheses_change_nothing() -> None:
    assert str(parse_objective("( worst)-(0.10*( kept) )")) == str(parse_objective("worst - 0.1 * kept"))
    assert str(parse_objective("worst - (fr - de)")) == "worst - (fr - de)"


def test_a_constraint_has_a_canonical_text_and_the_measures_of_both_sides() -> None:
    constraint = parse_constraint("xnli.accuracy(english)>=min(dense, fr) - 0.01")
    assert str(constraint) == "xnli.accuracy(english) >= min(dense, fr) - 0.01"
    assert [str(measure) for measure in constraint.measures] == ["xnli.accuracy(english)", "fr"]


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("", 1),
        ("worst -", 8),
        ("worst fr", 7),
        ("(worst", 1),
        ("fr)", 3),
        ("worst / 2", 7),
        ("fr + 2de", 6),
        ("'fr'", 1),
        ("fr ** 2", 4),
        ("[fr for fr in de]", 1),
        ("a.b.accuracy(fr)", 1),
        ("accuracy(*fr)", 10),
        ("worst-0.1", 1),
        ("worst-english", 1),
        ("accuracy", 1),
        ("acuracy(fr)", 1),
        ("facts.acuracy(fr)", 7),
        ("facts.(fr)", 7),
        ("accuracy(0.3)", 10),
        ("accuracy(frenchy)", 10),
        ("min(worst)", 10),
        ("log(worst, fr)", 10),
        ("worst >= 3", 7),
        ("worst - dense", 9),
        ("(" * 51 + "fr" + ")" * 51, 51),
    ],
)
def test_an_objective_that_cannot_be_read_is_refused_with_the_position(text: str, position: int) -> None:
    with refused(RecipeError, position=position, text=text) as caught:
        parse_objective(text)
    assert caught.value.context["expected"]


@pytest.mark.parametrize(
    ("text", "position"), [("worst", 6), ("worst = 3", 7), ("dense >= fr", 1), ("fr >= 0.2 >= 0.1", 11)]
)
def test_a_constraint_that_cannot_be_read_is_refused_with_the_position(text: str, position: int) -> None:
    with refused(RecipeError, position=position):
        parse_constraint(text)


@pytest.mark.parametrize("parse", [parse_objective, parse_constraint])
@pytest.mark.parametrize("text", ["1 + 1", "3 >= worst"])
def test_constants_are_refused(parse: object, text: str) -> None:
    assert callable(parse)
    with pytest.raises(RecipeError):
        parse(text)


def test_names_may_be_words_of_python_and_have_hyphens_and_colons() -> None:
    expression = parse_objective("is + as - pt-BR * accuracy(script:Latn)\n + xnli.accuracy(or)")
    assert str(expression) == "is + as - pt-BR * accuracy(script:Latn) + xnli.accuracy(or)"


def test_a_typing_error_gets_the_nearest_word() -> None:
    with refused(RecipeError, nearest="outside_english"):
        parse_objective("outside_englsh")


def test_a_very_long_expression_is_refused() -> None:
    with refused(RecipeError, expected="at most 4000 characters", got=10002):
        parse_objective("fr" + " + fr" * 2000)
