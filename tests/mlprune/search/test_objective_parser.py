"""Parsing of objectives and constraints."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.errors import RecipeError
from mlprune.search.objective import Expression, Group, Measure, Node, Number, Operation, Share
from mlprune.search.objective_parser import parse_constraint, parse_objective
from tests.refusals import refused

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
    with pytest.raises(RecipeError) as caught:
        parse_objective(text)
    assert caught.value.context["position"] == position
    assert caught.value.context["text"] == text
    assert caught.value.context["expected"]


@pytest.mark.parametrize(
    ("text", "position"), [("worst", 6), ("worst = 3", 7), ("dense >= fr", 1), ("fr >= 0.2 >= 0.1", 11)]
)
def test_a_constraint_that_cannot_be_read_is_refused_with_the_position(text: str, position: int) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_constraint(text)
    assert caught.value.context["position"] == position


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
    with pytest.raises(RecipeError) as caught:
        parse_objective("outside_englsh")
    assert caught.value.context["nearest"] == "outside_english"


def test_a_very_long_expression_is_refused() -> None:
    with refused(RecipeError, expected="at most 4000 characters", got=10002):
        parse_objective("fr" + " + fr" * 2000)
