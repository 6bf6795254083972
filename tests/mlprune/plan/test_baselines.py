"""What a recipe's baselines become: variants of their own, evaluated and compared like any; nothing else changes."""

from pathlib import Path
from typing import Any

import pytest

from mlprune.errors import ModelError, RecipeError
from mlprune.plan import Plan, build_plan
from mlprune.plan.estimate import needs_of
from mlprune.recipe import parse_recipe
from mlprune.steps.compare import CompareJob
from mlprune.steps.evaluate import EvaluateJob
from tests.tiny_models import save_tiny_model
from tests.tiny_recipes import small_recipe

SMALL = {"name": "small", "kind": "model", "path": "small"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_inputs: Path) -> Path:
    """The tiny inputs, with a smaller and a larger model beside the recipe's."""
    found = tmp_path_factory.mktemp("baselines")
    for one in tiny_inputs.iterdir():
        if one.is_dir() and not one.name.endswith("-store"):
            (found / one.name).symlink_to(one)
    save_tiny_model(found / "small", blocks=2, seed=5)
    save_tiny_model(found / "large", blocks=4, seed=5)
    return found


def plan_of(folder: Path, *baselines: dict[str, Any], **sections: Any) -> Plan:
    recipe = {**small_recipe(), "baselines": list(baselines), **sections}
    return build_plan(parse_recipe(recipe, folder=folder))


def evaluated(plan: Plan) -> dict[str, list[tuple[str, str]]]:
    """Label -> (model, language) of its evaluations."""
    jobs = [job for job in plan.jobs if isinstance(job, EvaluateJob)]
    found = {}
    for job in jobs:
        model = Path(job.model.path).name
        found[plan.variants[job.variant_id].label] = [(model, one.task.language) for one in job.evaluations]
    return found


def compared(plan: Plan) -> set[tuple[str, str]]:
    jobs = [job for job in plan.jobs if isinstance(job, CompareJob)]
    return {(plan.variants[job.variant_id].label, plan.variants[job.baseline_id].label) for job in jobs}


def test_baselines_leave_everything_else_as_it_is(folder: Path) -> None:
    without, with_them = plan_of(folder), plan_of(folder, SMALL)
    own = {job.makes for job in without.jobs}
    assert own < {job.makes for job in with_them.jobs}
    assert list(with_them.variants)[: len(without.variants)] == list(without.variants)
    assert without.models == (without.model,)


def test_another_model_is_evaluated_on_the_same_items_and_compared_with_dense(folder: Path) -> None:
    plan = plan_of(folder, SMALL)
    found = evaluated(plan)
    assert found["dense small"] == [("small", "en"), ("small", "fr")]
    assert found["dense"] == [("model", "en"), ("model", "fr")]
    assert ("dense small", "dense") in compared(plan)
    assert [Path(one.path).name for one in plan.models] == ["model", "small"]
    jobs = [job for job in plan.jobs if isinstance(job, EvaluateJob)]
    items = {one.task.language: {one.identity.contents["items"]} for one in jobs[0].evaluations}
    for job in jobs:
        for one in job.evaluations:
            assert items[one.task.language] == {one.identity.contents["items"]}


def test_its_ids_are_those_of_a_recipe_whose_own_model_it_is(folder: Path) -> None:
    there = {key for job in plan_of(folder, SMALL).jobs for key in job.makes}
    alone = plan_of(folder, model={"path": "small"}, variants=[])
    wanted = {key for job in alone.jobs if job.step in ("prune", "evaluate") for key in job.makes}
    assert wanted <= there


def test_a_variant_is_compared_with_the_baselines_it_names_whatever_its_sparsity(folder: Path) -> None:
    variants = [{"name": "m", "score": "magnitude", "sparsity": [0.25, 0.5], "against": ["small"]}]
    found = compared(plan_of(folder, SMALL, variants=variants))
    assert {("magnitude 0.25 row", "dense small"), ("magnitude 0.5 row", "dense small")} <= found
    variants[0].pop("against")
    assert compared(plan_of(folder, SMALL, variants=variants)) == {
        *((f"magnitude {sparsity} row", "dense") for sparsity in (0.25, 0.5)),
        ("dense small", "dense"),
    }


def test_a_baseline_is_evaluated_where_it_is_named_or_nobody_is(folder: Path) -> None:
    entries = [{"name": "m", "score": "magnitude", "sparsity": 0.5}]
    facts = {"task": "facts", "path": "facts", "languages": ["fr"]}
    for names, labels in ((["m"], {"dense", "magnitude 0.5 row"}), (["small"], {"dense", "dense small"})):
        plan = plan_of(folder, SMALL, variants=entries, evaluations=[{**facts, "variants": names}])
        assert set(evaluated(plan)) == labels


def test_the_work_of_another_model_is_told_by_its_own_size(folder: Path) -> None:
    plan = plan_of(folder, SMALL, variants=[])
    jobs = [job for job in plan.jobs if isinstance(job, EvaluateJob)]
    big, small = needs_of(plan, jobs).works
    assert 0 < small.flops < big.flops


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("large", RecipeError, "larger than the recipe's.*baseline='large'"),
        ("model", RecipeError, "the recipe's own model"),
        ("nowhere", ModelError, "nowhere"),
    ],
)
def test_a_model_that_is_no_baseline_is_refused_in_one_line(
    folder: Path, path: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        plan_of(folder, {"kind": "model", "path": path})
    assert "\n" not in str(caught.value)


def test_one_model_in_two_dtypes_is_refused(folder: Path) -> None:
    with pytest.raises(RecipeError, match="two dtypes"):
        plan_of(folder, SMALL, {**SMALL, "name": "half", "dtype": "bfloat16"})
