"""Variants as a store sees them: masks that agree with those of a variant that has results."""

from pathlib import Path

import pytest

from mlprune.planning import Plan
from mlprune.steps.evaluate.model_evaluation import EvaluateJob
from mlprune.steps.questions.declarations import awaited_variants, declarations
from mlprune.steps.questions.declaring_records import declaration_problems
from mlprune.steps.questions.known_variants import KnownVariants
from mlprune.store.records import Record
from mlprune.store.store import Store
from ray_jobs.driver.run_recipe import jobs_of_variants
from tests.mlprune.steps.questions.test_asked import FACTS, QUESTION, plan_of
from tests.tiny_recipes import copy_of, run_jobs


def planned(folder: Path, sparsity: float, *, seed: int = 1) -> Plan:
    variants = [{"name": "random", "score": "random", "sparsity": sparsity, "seed": seed}]
    return plan_of(folder, {**QUESTION, "variants": "random"}, variants=variants, evaluations=[{**FACTS, "limit": 4}])


def make_masks(plan: Plan, store: Store) -> None:
    run_jobs(jobs_of_variants(plan.jobs, plan.variants), store, model=plan.model)


@pytest.fixture(scope="module")
def looked_at(tiny_inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with the evaluations of a random variant and of dense."""
    store, plan = Store(tmp_path_factory.mktemp("looked") / "store"), planned(tiny_inputs, 0.5)
    make_masks(plan, store)
    evaluations = [job for job in plan.jobs if job.step == "items" or isinstance(job, EvaluateJob)]
    run_jobs(evaluations, store, model=plan.model)
    return store


def declared(plan: Plan, store: Store) -> tuple[dict[str, object], dict[str, object]]:
    record: Record = plan.record_with(declarations(plan.questions, store))
    (question,) = [dict(row) for row in record.rows["questions"] if row["is_declared"]]
    assert not list(declaration_problems(record))
    variant = next(iter(record.rows["question_variants"]), {})
    return question, dict(variant)


def test_a_sparsity_that_gives_the_same_masks_is_not_new(tiny_inputs: Path, looked_at: Store, tmp_path: Path) -> None:
    store, plan = copy_of(looked_at, tmp_path / "store"), planned(tiny_inputs, 0.5001)
    question, variant = declared(plan, store)
    assert (question["is_primary"], question["awaits_masks"], variant) == (False, True, {})
    found = declarations(plan.questions, store)
    assert awaited_variants(plan.questions, found) == {plan.questions[0].pairs[0][0]}
    make_masks(plan, store)
    question, variant = declared(plan, store)
    assert (question["declared_after"], question["is_primary"]) == (2, False)
    assert variant["mask_agreement"] == 1
    assert awaited_variants(plan.questions, declarations(plan.questions, store)) == frozenset()


@pytest.mark.parametrize(("sparsity", "seed", "least"), [(0.6, 1, 0.8), (0.5, 2, 0.3)])
def test_other_masks_are_new_and_name_the_nearest_variant(
    tiny_inputs: Path, looked_at: Store, tmp_path: Path, sparsity: float, seed: int, least: float
) -> None:
    store, plan = copy_of(looked_at, tmp_path / "store"), planned(tiny_inputs, sparsity, seed=seed)
    make_masks(plan, store)
    question, variant = declared(plan, store)
    (known,) = (pair[0] for pair in planned(tiny_inputs, 0.5).questions[0].pairs)
    assert (question["is_primary"], variant["nearest_variant_id"]) == (True, known)
    assert least < float(str(variant["mask_agreement"])) < 1


def test_dense_and_variants_without_masks_are_never_neighbours(tiny_inputs: Path, looked_at: Store) -> None:
    plan = planned(tiny_inputs, 0.5)
    known = KnownVariants(looked_at, plan.questions[0].identities)
    ((variant_id, dense_id),) = plan.questions[0].pairs
    assert not known.has_changes(dense_id)
    assert known.weights_key(dense_id) is None
    assert known.nearest([variant_id], [dense_id]) == {}
