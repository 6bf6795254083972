"""The attributes of a plug-in are checked when it is loaded."""

from dataclasses import dataclass, replace

import pytest

from mlprune.methods import Parameters, parameter
from mlprune.methods.plugins import ScorePlugin
from mlprune.methods.plugins.attributes import attribute_problems

GOOD = ScorePlugin("one everywhere", name="ones", function=lambda inputs, _: inputs.weight * 0 + 1)


@dataclass(frozen=True)
class Declared(Parameters):
    """Declared as it should be."""

    power: float = parameter(1.0, "exponent")


@dataclass(frozen=True)
class Undeclared(Parameters):
    """A field without a meaning."""

    power: float = 1.0


def test_a_plugin_as_documented_has_no_problem() -> None:
    assert not list(attribute_problems(GOOD))
    assert not list(attribute_problems(replace(GOOD, parameters=Declared, needs=("sums",))))


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("name", "2:4"),
        ("name", "two words"),
        ("function", 3),
        ("summary", None),
        ("citation", 2026),
        ("needs", "squares"),
        ("needs", ("cubes",)),
        ("parameters", dict),
        ("parameters", Undeclared),
        ("changes_weights", True),
        ("has_contrast", True),
    ],
)
def test_a_wrong_attribute_is_named(attribute: str, value: object) -> None:
    wrong = replace(GOOD, **{attribute: value})  # type: ignore[arg-type]
    assert [problem.attribute for problem in attribute_problems(wrong)] == [attribute]
