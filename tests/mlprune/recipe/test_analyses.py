"""Baselines of a recipe: valid and invalid entries."""

from pathlib import Path
from typing import Any

import pytest

from mlprune.errors import RecipeError
from mlprune.recipe import Recipe, parse_recipe
from tests.valid_recipe import GOOD

SMALL: dict[str, Any] = {"name": "small", "kind": "model", "path": "small"}

LRP2: dict[str, Any] = {"name": "lrp2", "kind": "lrp2", "demonstrations": "mono"}


def parsed(*baselines: dict[str, Any], **sections: Any) -> Recipe:
    return parse_recipe({**GOOD, "baselines": list(baselines), **sections}, folder=Path())


def test_the_dtype_of_another_model_defaults_to_that_of_the_recipe() -> None:
    (plain,), (other,) = (parsed(one).baselines for one in (SMALL, {**SMALL, "dtype": "bfloat16", "revision": "a"}))
    assert (plain.path, plain.revision, plain.dtype) == ("small", "main", None)
    assert (other.revision, other.dtype) == ("a", "bfloat16")


def test_layers_are_searched_or_a_pair_or_several() -> None:
    written = (None, [1, 3], [[0, 1], [1, 3]])
    entries = [LRP2 if one is None else {**LRP2, "layers": one} for one in written]
    assert [parsed(one).baselines[0].layers for one in entries] == ["search", ((1, 3),), ((0, 1), (1, 3))]


@pytest.mark.parametrize(
    ("baselines", "message"),
    [
        ([{"kind": "model"}], "kind model needs path"),
        ([{"kind": "lrp2"}], "kind lrp2 needs demonstrations"),
        ([{**LRP2, "demonstrations": "non"}], "key='baselines.0.demonstrations', got='non'"),
        ([{**LRP2, "path": "small"}], "path does not apply to kind lrp2"),
        ([{**SMALL, "layers": [0, 1]}], "layers does not apply to kind model"),
        ([{"kind": "self_translate", "limit": 3}], "limit does not apply to kind self_translate"),
        ([{"kind": "self_translate", "shots": -1}], "baselines.0.shots"),
        ([{**LRP2, "split": "test"}], "cannot be chosen on split test"),
        ([{**LRP2, "layers": [2, 1]}], "the lower block of a pair comes first"),
        ([{**LRP2, "layers": [[0, 1], [1, 1]]}], "the lower block of a pair comes first"),
        ([{**LRP2, "layers": []}], "needs a pair"),
        ([{**LRP2, "layers": "all"}], "baselines.0.layers"),
        ([{**LRP2, "layers": [0, 1, 2]}], "baselines.0.layers"),
        ([{**SMALL, "kind": "larger"}], "baselines.0.kind"),
        ([{**SMALL, "sparsity": 0.5}], "unknown key.*baselines.0.sparsity.*'against'"),
        ([SMALL, SMALL], "the same name as another entry: 'small'"),
        ([{**SMALL, "against": ["smal"]}], "key='baselines.0.against', got='smal'"),
        ([{**SMALL, "against": ["small"]}], "key='baselines.0.against', got='small'"),
    ],
)
def test_a_wrong_baseline_is_refused_in_one_line(baselines: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        parsed(*baselines)
    assert "\n" not in str(caught.value)


def test_variants_and_evaluations_may_name_a_baseline_and_no_variant_may_have_its_name() -> None:
    variant: dict[str, Any] = {"name": "m", "score": "magnitude", "sparsity": 0.5, "against": ["small"]}
    evaluation = {"task": "xnli", "path": "xnli", "languages": ["en"], "variants": ["small"]}
    result = parsed(SMALL, variants=[variant], evaluations=[evaluation])
    assert result.evaluations[0].variants == result.variants[0].against == ("small",)
    with pytest.raises(RecipeError, match="the same name as another entry"):
        parsed(SMALL, variants=[{**variant, "name": "small", "against": []}])
