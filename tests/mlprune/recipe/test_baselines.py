"""What a recipe may say of its baselines."""

from pathlib import Path
from typing import Any

import pytest

from mlprune.errors import RecipeError
from mlprune.recipe import Recipe, parse_recipe
from tests.good_recipe import GOOD

SMALL: dict[str, Any] = {"name": "small", "kind": "model", "path": "small"}


def parsed(*baselines: dict[str, Any], **sections: Any) -> Recipe:
    return parse_recipe({**GOOD, "baselines": list(baselines), **sections}, folder=Path())


def test_another_model_computes_as_the_recipes_unless_it_says_otherwise() -> None:
    (plain,), (other,) = (parsed(one).baselines for one in (SMALL, {**SMALL, "dtype": "bfloat16", "revision": "a"}))
    assert (plain.path, plain.revision, plain.dtype) == ("small", "main", None)
    assert (other.revision, other.dtype) == ("a", "bfloat16")


@pytest.mark.parametrize(
    ("baselines", "message"),
    [
        ([{"kind": "model"}], "kind model needs a path"),
        ([{**SMALL, "kind": "larger"}], "baselines.0.kind"),
        ([{**SMALL, "sparsity": 0.5}], "unknown key.*baselines.0.sparsity.*'against'"),
        ([SMALL, SMALL], "the name of another entry: 'small'"),
        ([{**SMALL, "against": ["smal"]}], "against names 'smal'"),
        ([{**SMALL, "against": ["small"]}], "against names 'small'"),
    ],
)
def test_a_baseline_that_makes_no_sense_is_refused_in_one_line(baselines: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        parsed(*baselines)
    assert "\n" not in str(caught.value)


def test_variants_and_evaluations_may_name_a_baseline_and_no_variant_may_have_its_name() -> None:
    variant: dict[str, Any] = {"name": "m", "score": "magnitude", "sparsity": 0.5, "against": ["small"]}
    evaluation = {"task": "xnli", "path": "xnli", "languages": ["en"], "variants": ["small"]}
    found = parsed(SMALL, variants=[variant], evaluations=[evaluation])
    assert found.evaluations[0].variants == found.variants[0].against == ("small",)
    with pytest.raises(RecipeError, match="the name of another entry"):
        parsed(SMALL, variants=[{**variant, "name": "small", "against": []}])
