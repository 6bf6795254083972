import pytest

from mlprune.search.objective.measure import Group, Measure
from mlprune.search.objective.parser import parse_objective
from mlprune.steps.search.measuring.linear_weights import linear_weights

OUTSIDE, ENGLISH = Measure(None, None, Group("outside_english")), Measure(None, None, Group("language", "en"))
PERPLEXITY = Measure(None, "perplexity", Group("all"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("outside_english", {OUTSIDE: 1.0}),
        ("2 * (outside_english - 0.25 * english) + 3", {OUTSIDE: 2.0, ENGLISH: -0.5}),
        ("outside_english - 0.1 * kept + log(kept) * kept", {OUTSIDE: 1.0}),
        ("outside_english - outside_english", {OUTSIDE: 0.0}),
        ("0.5 * log(perplexity(all)) + english", {PERPLEXITY: 0.5, ENGLISH: 1.0}),
        ("kept", {}),
    ],
)
def test_an_objective_that_is_linear_in_its_means_has_their_weights(text: str, expected: dict[Measure, float]) -> None:
    assert linear_weights(parse_objective(text), {PERPLEXITY}) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    "text",
    [
        "outside_english * english",
        "outside_english * kept",
        "min(outside_english, english)",
        "max(outside_english, 0)",
        "log(english)",
        "perplexity(all)",
    ],
)
def test_other_objectives_have_none(text: str) -> None:
    assert linear_weights(parse_objective(text), {PERPLEXITY}) is None
