"""The benchmark of families runs with some hundred families; its target has room for their error."""

import pytest

from tests.benchmarks.family_errors import Population, error_row

REPEATS = 400
"""The Monte Carlo error of a share of 0.05 is 0.011."""
POPULATIONS = (
    Population(1, "all true", "few items", claims=("noninferior",)),
    Population(4, "both", "normal"),
    Population(10, "all true", "many items", claims=("noninferior",)),
    Population(10, "most shown", "normal", correlation=0.8),
)


@pytest.mark.slow
@pytest.mark.parametrize("population", POPULATIONS, ids=str)
def test_at_most_five_percent_of_the_families_have_a_wrong_verdict(population: Population) -> None:
    assert error_row(population, REPEATS)["wrong"] <= 0.085


def test_what_is_certain_is_shown_and_what_is_at_its_limit_is_not() -> None:
    row = error_row(Population(4, "most shown", "normal"), 8)
    assert row["right"] >= 3
    assert row["wrong"] <= 0.25
