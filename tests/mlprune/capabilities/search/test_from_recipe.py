"""Items and clusters that the splits of a search share."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlprune.capabilities.search import from_recipe
from mlprune.capabilities.search.from_recipe import refuse_shared_items, search_spec
from mlprune.capabilities.search.spec import ItemCount, SearchInputs, SearchSpec
from mlprune.errors import RecipeError
from mlprune.models.checkpoint.weight_files import read_block
from mlprune.recipe.loading import parse_recipe
from mlprune.recipe.models import CorpusConfig, Recipe
from mlprune.steps.demonstrate.planned_sets import plan_demonstrations
from mlprune.steps.inputs import open_inputs
from mlprune.steps.tasks.evaluation import task_data
from mlprune.steps.tasks.task_spec import TaskSpec
from tests.refusals import refused
from tests.search_recipes import BASE, N_SEARCHED, search_recipe
from tests.tiny_recipes import fact


def specs(folder: Path, **splits: list[dict[str, Any]]) -> list[list[TaskSpec]]:
    """Write the items of each split in English and French; return the tasks of each split."""
    for split, rows in splits.items():
        for language in ("en", "fr"):
            lines = [json.dumps({**fact(language, row["number"]), **row}) + "\n" for row in rows]
            (folder / f"{language}.{split}.jsonl").write_text("".join(lines))
    return [[TaskSpec("facts", language, split, folder=str(folder)) for language in ("en", "fr")] for split in splits]


def test_splits_whose_row_numbers_agree_share_nothing(tmp_path: Path) -> None:
    dev, test = specs(tmp_path, dev=[{"number": 0}, {"number": 1}], test=[{"number": 2, "id": 0}])
    refuse_shared_items("s", dev, reported_on=test)


def test_equal_texts_are_counted_in_every_language(tmp_path: Path) -> None:
    dev, test = specs(tmp_path, dev=[{"number": 0}, {"number": 1}], test=[{"number": 1, "id": 7}, {"number": 3}])
    shared = {"n_shared_items": 2, "n_shared_clusters": 0, "example": "en 7: 1 is red"}
    with refused(RecipeError, search="s", task="facts", splits=["dev", "test"], **shared):
        refuse_shared_items("s", dev, reported_on=test)


def test_clusters_of_equal_name_are_shared_across_languages(tmp_path: Path) -> None:
    dev, test = specs(tmp_path, dev=[{"number": 0, "cluster": "a"}], test=[{"number": 1, "cluster": "a"}])
    with refused(RecipeError, n_shared_items=0, n_shared_clusters=1, example="cluster a"):
        refuse_shared_items("s", dev[:1], reported_on=test[1:])


def test_items_that_a_limit_leaves_out_do_not_count(tmp_path: Path) -> None:
    dev, test = specs(tmp_path, dev=[{"number": n} for n in range(9)], test=[{"number": 8}, {"number": 9}])
    kept = [replace(spec, limit=1) for spec in dev]
    assert {item.example_id for spec in kept for item in task_data(spec).items} == {"7"}
    refuse_shared_items("s", kept, reported_on=test)
    with pytest.raises(RecipeError):
        refuse_shared_items("s", dev, reported_on=test)


def test_other_tasks_do_not_matter(tmp_path: Path) -> None:
    (dev,) = specs(tmp_path, dev=[{"number": 0}])
    refuse_shared_items("s", dev, reported_on=[])


def test_the_halves_of_the_built_in_facts_share_territories_unless_they_divide_clusters() -> None:
    spec = TaskSpec("facts", "en", "dev", corpus=CorpusConfig(kind="cldr", lines=10), is_corpus_half=True)
    with pytest.raises(RecipeError) as caught:
        refuse_shared_items("s", [spec], reported_on=[replace(spec, split="test")])
    assert caught.value.context["n_shared_items"] == 0
    assert "split_by: clusters" in caught.value.context["expected"]
    by_clusters = replace(spec, split_by="clusters")
    refuse_shared_items("s", [by_clusters], reported_on=[replace(by_clusters, split="test")])


def parse(folder: Path, **changes: Any) -> Recipe:
    return parse_recipe(search_recipe(**changes), folder=folder)


def opened(recipe: Recipe) -> SearchInputs:
    inputs = open_inputs(recipe)
    return SearchInputs(recipe, inputs, plan_demonstrations(recipe, inputs, evaluated=frozenset()), recipe)


def first_spec(recipe: Recipe) -> SearchSpec:
    return search_spec(opened(recipe), recipe.searches[0])


def spec_of(folder: Path, **changes: Any) -> SearchSpec:
    return first_spec(parse(folder, **changes))


def test_units_are_the_blocks_with_the_weights_of_their_files(tiny_inputs: Path) -> None:
    spec = spec_of(tiny_inputs)
    blocks = [read_block(tiny_inputs / "model", block) for block in range(3)]
    assert spec.space.units is not None
    assert spec.space.units.names == ("0", "1", "2")
    assert spec.space.units.n_weights == tuple(sum(weight.numel() for weight in block.values()) for block in blocks)
    assert spec.space.units.uniform == (1, 1, 1)


def test_units_are_layers_in_the_scope_of_the_base_or_those_that_the_levels_name(tiny_inputs: Path) -> None:
    sizes = {name: weight.numel() for name, weight in read_block(tiny_inputs / "model", 0).items()}
    levels = {"values": [0.25, 0.5]}
    scope = {"blocks": [1, 2], "without_layers": ["fc1"]}
    units = spec_of(tiny_inputs, base={**BASE, "scope": scope}, levels={**levels, "per": "layer"}).space.units
    assert units is not None
    assert dict(zip(units.names, units.n_weights, strict=True)) == {
        name: 2 * size for name, size in sizes.items() if name != "fc1"
    }
    spec = spec_of(tiny_inputs, levels={**levels, "per": "block_layer", "layers": ["fc2", "fc1"]})
    assert spec.space.units is not None
    assert spec.space.units.names[:3] == ("0.fc1", "0.fc2", "1.fc1")
    assert spec.base["scope"] == {"layers": ["fc2", "fc1"]}


def test_items_are_counted_per_task_and_language(tiny_inputs: Path) -> None:
    spec = spec_of(tiny_inputs)
    n_dev = spec.n_items
    assert n_dev == N_SEARCHED
    assert spec.items == (ItemCount("perplexity", "en", n_dev), ItemCount("perplexity", "fr", n_dev))
    assert (spec.n_scored(None), spec.n_scored(3)) == (2 * n_dev, 6)
    assert spec.settings.rung_items == (2 * n_dev,)
    assert [entry.limit for entry in spec.rung_evaluations(3)] == [3]


def test_the_id_of_trials_does_not_depend_on_names_and_on_the_report(tiny_inputs: Path) -> None:
    spec = spec_of(tiny_inputs)
    same = spec_of(tiny_inputs, name="other", compare=["uniform"])
    assert (same.parameters, same.parents) == (spec.parameters, spec.parents)
    for changes in ({"seed": 1}, {"batch": 4}, {"where": "en <= dense"}, {"budget": {"items": 900}}):
        assert spec_of(tiny_inputs, **changes).parameters != spec.parameters
    assert spec.random_search().parameters == spec.parameters  # it is a random search already
    assert len(spec.parents["evaluations"]) == 2  # type: ignore[arg-type]
    assert len(spec.parents["demonstration_sets"]) == 1  # type: ignore[arg-type]


def test_measures_are_complete(tiny_inputs: Path) -> None:
    spec = spec_of(tiny_inputs, minimise="worst", where="en <= dense")
    assert [str(measure) for measure in spec.measures.values()] == [
        "perplexity.perplexity(worst)",
        "perplexity.perplexity(english)",
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"levels": {"per": "block", "values": [0.25, 0.5, 0.75], "total": 0.3}}, "0.3"),
        ({"levels": {"values": [0.25, 0.5], "layers": ["q_proj"]}}, "q_proj"),
        ({"base": {**BASE, "scope": {"blocks": [9]}}}, "got=9"),
        ({"budget": {"items": 3}}, "got='items: 3'"),
    ],
)
def test_what_the_model_or_the_items_do_not_allow_is_refused(
    tiny_inputs: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        spec_of(tiny_inputs, **changes)
    assert words in str(caught.value)


def test_a_space_without_a_budget_has_a_limit(tiny_inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"method": "exhaustive", "budget": None}
    assert spec_of(tiny_inputs, **changes).space.n_points == 7
    monkeypatch.setattr(from_recipe, "MAX_WITHOUT_BUDGET", 6)
    with pytest.raises(RecipeError):
        spec_of(tiny_inputs, **changes)


def test_a_rung_has_fewer_items_than_the_split(tiny_inputs: Path) -> None:
    spec = spec_of(tiny_inputs)
    config = parse(tiny_inputs).searches[0]
    from_recipe.check_size(spec, config.model_copy(update={"rungs": (spec.n_items - 1,)}))
    with refused(RecipeError, got=[spec.n_items]):
        from_recipe.check_size(spec, config.model_copy(update={"rungs": (2, spec.n_items)}))
    assert replace(spec, rungs=(3, None)).settings.rung_items == (6, 2 * spec.n_items)


LEVELS = {"values": [0.25, 0.5]}
AXIS = {"levels": None, "space": {"sparsity": [0.25, 0.5]}}


@pytest.mark.parametrize(
    ("where", "changes"),
    [
        ("sparsity >= 0.6", {"levels": LEVELS}),
        ("kept >= 0.9", {"levels": LEVELS}),
        (["english >= 0.1", "0.9 * kept <= 0.2"], {"levels": LEVELS}),
        ("sparsity >= 0.3", {"levels": {**LEVELS, "total": 0.25}}),
        ("sparsity >= 0.6", AXIS),
        ("sparsity >= 0.3", {"levels": None, "space": {"sparsity": [0.5], "scope": [{"blocks": [0]}]}}),
    ],
)
def test_a_constraint_on_the_sparsity_that_no_point_can_meet_is_refused(
    tiny_inputs: Path, where: str | list[str], changes: dict[str, Any]
) -> None:
    with refused(RecipeError, search="blocks", expected=where if isinstance(where, str) else where[-1]):
        spec_of(tiny_inputs, where=where, **changes)


def test_a_constraint_that_some_point_can_meet_is_accepted(tiny_inputs: Path) -> None:
    spec_of(tiny_inputs, where="sparsity >= 0.4", levels=LEVELS)
    spec_of(tiny_inputs, where="sparsity >= 0.5", **AXIS)
    spec_of(tiny_inputs, where="sparsity <= 0.22", levels=None, space={"sparsity": [0.24]})


def test_a_constraint_on_whole_blocks_is_not_checked_as_one_on_weights(tiny_inputs: Path) -> None:
    of_blocks = {"base": {"score": "random", "structure": "blocks"}, "space": {"sparsity": [0.4]}}
    spec_of(tiny_inputs, where="sparsity <= 0.34", levels=None, **of_blocks)
