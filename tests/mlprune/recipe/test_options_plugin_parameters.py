"""Parameters of plug-ins in recipes are typed, multiply out, and are refused in one line."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlprune.errors import RecipeError
from mlprune.recipe.loading import parse_recipe
from mlprune.recipe.models import Recipe
from tests.plugin_packages import CUBIC, on_path, write_distribution
from tests.search_recipes import BASE, search_recipe
from tests.valid_recipe import with_keys

LISTED = '''
from dataclasses import dataclass

from mlprune.plugins import Parameters, ScorePlugin, parameter


@dataclass(frozen=True)
class Listed(Parameters):
    """Parameters of score listed."""

    weights: tuple[float, ...] = parameter((1.0,), "one per column")
    seed: int = parameter(0, "seed of the draw")


LISTED = ScorePlugin("for a test", name="listed", parameters=Listed, function=lambda inputs, parameters: inputs.weight)
'''

STEEP = '''
from dataclasses import dataclass

from mlprune.plugins import Parameters, StructurePlugin, parameter


@dataclass(frozen=True)
class Steep(Parameters):
    """Parameters of structure steep."""

    power: float = parameter(2.0, "exponent of the share", above=1)


STEEP = StructurePlugin("for a test", name="steep", parameters=Steep, function=lambda scores, *_: scores > 0)
'''


@pytest.fixture(autouse=True)
def _installed(tmp_path: Path) -> Iterator[None]:
    with on_path(tmp_path) as site:
        names = {"cubic": "cubic_keys:CUBIC", "listed": "listed_keys:LISTED"}
        modules = {"cubic_keys.py": CUBIC, "listed_keys.py": LISTED, "steep_keys.py": STEEP}
        structures = {"steep": "steep_keys:STEEP"}
        write_distribution(site, modules, {"mlprune.scores": names, "mlprune.structures": structures})
        yield


def parse(**keys: Any) -> Recipe:
    return parse_recipe(with_keys("variants.0", **keys), folder=Path("/recipes"))


def named(recipe: Recipe) -> list[Any]:
    return [dict(entry.score_parameters) for entry in recipe.variants if entry.name == "wanda"]  # type: ignore[call-overload]


def test_parameters_at_their_defaults_are_none_and_lists_multiply_out() -> None:
    assert named(parse(score="cubic")) == [{}]
    assert named(parse(score="cubic", parameters={"power": 3.0, "floor": 0.5})) == [{"floor": 0.5}]
    several = parse(score="cubic", sparsity=[0.25, 0.5], parameters={"power": [1, 2.5], "floor": 0.5})
    assert named(several) == [{"power": 1.0, "floor": 0.5}, {"power": 2.5, "floor": 0.5}] * 2


def test_a_list_in_a_list_is_one_value_and_a_seed_is_always_there() -> None:
    recipe = parse(score="listed", parameters={"weights": [[1.0, 2.0]], "seed": [0, 3]})
    assert named(recipe) == [{"weights": (1.0, 2.0), "seed": 0}, {"weights": (1.0, 2.0), "seed": 3}]
    assert len({hash(entry) for entry in recipe.variants}) == len(recipe.variants)


def test_exclude_compares_parameters_as_a_whole() -> None:
    grid = {"sparsity": [0.25, 0.5], "parameters": {"power": [1.0, 2.0]}}
    recipe = parse(score="cubic", **grid, exclude=[{"sparsity": 0.5, "parameters": {"power": 2.0}}])
    assert len(named(recipe)) == 3


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"score": "cubic", "parameters": {"powr": 1.0}}, "nearest='power'"),
        ({"score": "cubic", "parameters": {"power": 0}}, "greater than 0"),
        ({"score": "cubic", "parameters": {"power": "2"}}, "parameter='power'"),
        ({"score": "cubic", "parameters": {"power": True}}, "parameter='power'"),
        ({"score": "cubic", "parameters": {"seed": 1}}, "unknown parameter"),
        ({"score": "cubic", "parameters": [1]}, "mapping"),
        ({"score": "cubic", "power": 2.0}, "power does not apply to "),
        ({"score": "wanda", "parameters": {"power": 1.0}}, "parameters are those of plug-ins"),
        ({"score": "cubik"}, "nearest='cubic'"),
        ({"score": "cubic", "demonstrations": None}, "needs demonstrations"),
        ({"score": "cubic", "contrast": "code"}, "score contrast needs contrast"),
    ],
)
def test_a_mistake_is_one_line_with_the_entry(keys: dict[str, Any], expected: str) -> None:
    with pytest.raises(RecipeError, match=expected) as raised:
        parse(**keys)
    assert str(raised.value.context["key"]).startswith("variants.0")


def test_a_parameter_that_plugins_share_has_the_bounds_of_each() -> None:
    assert named(parse(score="cubic", structure="steep", parameters={"power": 1.5})) == [{"power": 1.5}]
    for power, expected in ((0.5, "greater than 1"), (0, "greater than 0")):
        with pytest.raises(RecipeError, match=expected):
            parse(score="cubic", structure="steep", parameters={"power": power})


def test_a_search_tries_the_parameters_of_a_plugin_and_names_a_wrong_one() -> None:
    base = {**BASE, "score": "cubic"}
    assert parse_recipe(search_recipe(base={**base, "parameters": {"power": 2}}), folder=Path()).searches
    with pytest.raises(RecipeError, match="nearest='power'") as raised:
        parse_recipe(search_recipe(base={**base, "parameters": {"powr": 2}}), folder=Path())
    assert raised.value.context["key"] == "searches.0"
    assert str(raised.value.context["at"]).startswith("base")
