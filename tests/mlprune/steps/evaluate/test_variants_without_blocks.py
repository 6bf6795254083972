"""Variants without blocks that are evaluated in one run: the same bytes as one job per variant."""

from pathlib import Path

import pytest

from mlprune.models.local_chain import local_chain
from mlprune.models.placement.memory_estimate import footprint
from mlprune.planning import Plan, pending_jobs
from mlprune.steps.demonstrate.writing import set_sizes
from mlprune.steps.evaluate.model_evaluation import EvaluateJob
from mlprune.steps.evaluate.variants_without_blocks import EvaluateWithoutBlocksJob, evaluated_together
from mlprune.steps.job import Job, block_flops
from mlprune.store.store import Store
from tests.local_replica import LocalReplica, shared
from tests.tiny_recipes import copied_inputs, plan_of, results, run_jobs, small_recipe, write_recipe

N_PREPARING = 2
"""Tasks of a replica that joins: it loads the model and makes it dense."""


def recipe_of(folder: Path) -> Path:
    """Scored texts with a distance and a rule that scores candidates alone, and generated texts."""
    facts = {"task": "facts", "path": "facts", "languages": ["en", "fr"], "rule": ["mean", "pmi"]}
    translation = {"task": "translation", "path": "corpus", "pairs": ["fr-en"], "limit": 2, "max_new_tokens": 4}
    variants = [{"score": "given", "scope": {"blocks": blocks}} for blocks in ([0], [2], [0, 1])]
    evaluations = [{**facts, "distance": True}, {**translation, "shots": 1}]
    recipe = {**small_recipe(), "demonstrations": [], "variants": variants, "evaluations": evaluations}
    return write_recipe(folder, recipe, name="given.yaml")


@pytest.fixture(scope="module")
def plan(tiny_inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return plan_of(recipe_of(copied_inputs(tiny_inputs, tmp_path_factory.mktemp("given"))))


def together(plan: Plan) -> list[Job]:
    return list(evaluated_together(plan.jobs, lacks(plan)))


def lacks(plan: Plan) -> dict[str, frozenset[int]]:
    variants = {key: one for key, one in plan.variants.items() if not one.is_dense}
    return {key: frozenset(one.entries[0].scope.blocks) for key, one in variants.items()}


def test_generated_texts_and_other_variants_keep_their_own_jobs(plan: Plan) -> None:
    jobs = together(plan)
    (job,) = (job for job in jobs if isinstance(job, EvaluateWithoutBlocksJob))
    assert len(job.variant_ids) == 3
    assert not any(one.task.is_generated for one in job.evaluations)
    alone = [one for one in jobs if isinstance(one, EvaluateJob) and one.variant_id in job.variant_ids]
    assert [[one.task.task for one in of_variant.evaluations] for of_variant in alone] == [["translation"]] * 3
    assert {key for one in jobs for key in one.makes} == {key for one in plan.jobs for key in one.makes}
    assert list(evaluated_together(plan.jobs, {})) == list(plan.jobs)
    generated = [one for one in jobs if not isinstance(one, EvaluateWithoutBlocksJob)]
    assert list(evaluated_together(generated, lacks(plan))) == generated


def test_the_cost_counts_every_block_run_and_the_head_of_every_variant(plan: Plan) -> None:
    (job,) = (job for job in together(plan) if isinstance(job, EvaluateWithoutBlocksJob))
    assert job.n_block_runs == 1 + 2 + 2, "block 0 runs once, blocks 1 and 2 on two branches each"
    sizes, sets = footprint(Path(plan.model.path), "float32"), set_sizes(plan.jobs)
    of_one = [one for one in job.evaluations if one.variant_id == job.variant_ids[0]]
    alone = EvaluateJob(job.model, tuple(of_one), job.variant_ids[0], batch_tokens=job.batch_tokens).cost(sizes, sets)
    blocks, cost = block_flops(sizes, alone.n_tokens), job.cost(sizes, sets)
    assert cost.flops == pytest.approx(3 * (alone.flops - blocks) + blocks * job.n_block_runs / 3)
    assert cost.n_passes == alone.n_passes
    assert cost.thread_bytes > alone.thread_bytes


@pytest.mark.thorough("evaluates all variants twice, and some of them again")
def test_variants_that_are_evaluated_together_on_shared_replicas_have_the_bytes_of_one_job_each(
    plan: Plan, tmp_path: Path
) -> None:
    whole, alone = Store(tmp_path / "together"), Store(tmp_path / "alone")
    jobs, others = ([job for job in some if job.step != "compare"] for some in (together(plan), plan.jobs))
    for store, of_store in ((whole, jobs), (alone, others)):
        run_jobs(of_store, store, model=plan.model)
        assert not pending_jobs(others, store)
    (job,) = (job for job in jobs if isinstance(job, EvaluateWithoutBlocksJob))
    for key in job.makes[1::2]:
        Path(whole.uri, whole.require(*key).path).unlink()
    assert job in pending_jobs(jobs, whole)
    first, second = (local_chain(Path(plan.model.path), n_shards=n_shards) for n_shards in (1, 2))
    other = LocalReplica(second)
    assert job.shares_replicas
    job.run(whole, lambda: shared(first, [other]))
    assert results(whole) == results(alone)
    assert other.n_tasks > N_PREPARING, "it has scored batches"
