"""Raw activations, token by token, compared with layer inputs of transformers."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mlprune.errors import BadInputError, DamagedArtefactError, RecipeError, StatisticsError, StoreError
from mlprune.models.placement.memory_estimate import footprint
from mlprune.planning import Plan, build_plan, pending_jobs
from mlprune.planning.resources.actor_memory import costs_of
from mlprune.recipe.loading import parse_recipe
from mlprune.steps.observe import passes
from mlprune.steps.observe.activations import ActivationsJob, read_activations, to_stored_dtype
from mlprune.steps.observe.statistics import ObserveJob
from mlprune.steps.observe.statistics_files import read_block_statistics
from tests.chains import chain_with_masks, worker_threads
from tests.refusals import refused
from tests.tiny_models import ARCHITECTURES
from tests.tiny_recipes import (
    FinishedRun,
    chain_of,
    contents,
    finished_run,
    layer_inputs,
    reference_model,
    small_recipe,
    tiny_recipe,
)

XGLM = ARCHITECTURES["xglm"]
MIB = 2**-10


@pytest.fixture(scope="module")
def run(tiny_inputs: Path) -> Iterator[FinishedRun]:
    """The small recipe's set with all its activations, cut into parts of two demonstrations at most."""
    recipe = small_recipe()
    recipe["demonstrations"][0]["activations"] = {"quota_gib": 8 * MIB}
    recipe["variants"], recipe["evaluations"] = [], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passes, "PART_BYTES", 2 * 48 * 4 * 3 * 112)
        yield finished_run(tiny_inputs, recipe, name="activations")


def job_of(run: FinishedRun) -> ActivationsJob:
    (job,) = (job for job in run.plan.jobs if isinstance(job, ActivationsJob))
    return job


def set_table(run: FinishedRun) -> dict[str, list[Any]]:
    record = run.store.require("demonstration_sets", job_of(run).demonstration_set_id)
    return run.store.read_table(record.artefacts[0])


def test_activations_are_what_each_layer_reads_for_every_token(run: FinishedRun) -> None:
    job, texts = job_of(run), set_table(run)["token_ids"]
    assert [list(part) for part in job.parts] == [[0, 1], [2, 3]]
    model = reference_model(run.folder / "model")
    expected = [layer_inputs(model, ids, layers=XGLM.input_names) for ids in texts]
    for block in range(3):
        for name in XGLM.input_names:
            found = read_activations(run.store, job.identity.id, block=block, layer_input=name)
            reference = torch.cat([one[block, name] for one in expected])
            torch.testing.assert_close(found.values, reference, rtol=1e-5, atol=1e-6)
            assert found.token_ids.tolist() == np.concatenate(texts).tolist()
            assert found.demonstrations.tolist() == [n for n, ids in enumerate(texts) for _ in ids]
            assert found.positions.tolist() == [place for ids in texts for place in range(len(ids))]


def test_the_sums_of_squares_of_activations_are_the_statistics(run: FinishedRun) -> None:
    (observe,) = (job for job in run.plan.jobs if isinstance(job, ObserveJob))
    artefacts = run.store.require(*observe.identity.key).artefacts
    for name, rows in read_block_statistics(run.store, artefacts, 1).items():
        found = read_activations(run.store, job_of(run).identity.id, block=1, layer_input=name)
        for demonstration, row in enumerate(rows):
            own = found.values[torch.from_numpy(found.demonstrations == demonstration)]
            torch.testing.assert_close(own.double().square().sum(dim=0), row.double(), rtol=1e-5, atol=1e-6)


def test_activations_are_no_larger_than_planned(run: FinishedRun) -> None:
    job = job_of(run)
    record = run.store.require(*job.identity.key)
    n_numbers = sum(len(ids) for ids in set_table(run)["token_ids"]) * 3 * (16 + 16 + 16 + 64)
    assert n_numbers * 4 <= job.most_bytes == 4 * 48 * 3 * 112 * 4
    assert sum(one.n_bytes for one in record.artefacts) < job.most_bytes + 3000 * len(record.artefacts)


def test_a_choice_of_blocks_inputs_and_demonstrations_is_all_that_is_stored(
    run: FinishedRun, copied_store: Any
) -> None:
    store = copied_store(run.store)
    whole = job_of(run)
    identity = dataclasses.replace(whole.identity, parameters={**whole.identity.parameters, "blocks": [1]})
    part = dataclasses.replace(whole, blocks=(1,), inputs=("fc2",), parts=(range(3),), identity=identity)
    part.run(store, lambda: chain_of(run.plan))
    record = store.require(*part.identity.key)
    assert [one.path.rpartition("/")[2] for one in record.artefacts] == ["block-001.fc2.part-00000.parquet"]
    found = read_activations(store, part.identity.id, block=1, layer_input="fc2")
    everything = read_activations(store, whole.identity.id, block=1, layer_input="fc2")
    wanted = torch.from_numpy(everything.demonstrations < 3)
    torch.testing.assert_close(found.values, everything.values[wanted], rtol=1e-5, atol=1e-6)
    assert set(found.demonstrations.tolist()) == {0, 1, 2}


def test_shards_threads_and_earlier_masks_change_no_byte(run: FinishedRun, copied_store: Any) -> None:
    store = copied_store(run.store)
    chain = chain_with_masks(Path(run.plan.model.path), n_shards=3)
    with worker_threads(2):
        job_of(run).run(store, lambda: chain)
    assert contents(store) == contents(run.store)


def test_half_precision_is_the_nearest_half(run: FinishedRun, copied_store: Any) -> None:
    store, whole = copied_store(run.store), job_of(run)
    parameters = {**whole.identity.parameters, "stored_dtype": "float16"}
    half = dataclasses.replace(
        whole, dtype="float16", identity=dataclasses.replace(whole.identity, parameters=parameters)
    )
    half.run(store, lambda: chain_of(run.plan))
    found, full = (read_activations(store, one.identity.id, block=0, layer_input="fc1") for one in (half, whole))
    assert found.values.dtype == torch.float16
    assert torch.equal(found.values, full.values.half())


def test_an_activation_beyond_half_precision_is_an_error_with_advice() -> None:
    advice = "activations: {dtype: float32}"
    with refused(StatisticsError, block=2, input="fc2", expected=advice, got=70000.0):
        to_stored_dtype(torch.tensor([[1.0, -70000.0]]), "float16", key=(2, "fc2"))


def test_activations_that_are_not_stored_are_an_error_that_lists_what_is(run: FinishedRun) -> None:
    with pytest.raises(BadInputError) as caught:
        read_activations(run.store, job_of(run).identity.id, block=1, layer_input="fc3")
    assert "block-001.fc2" in caught.value.context["expected"]
    with pytest.raises(StoreError):
        read_activations(run.store, "0" * 20, block=1, layer_input="fc2")


def test_damage_is_detected_and_repaired(run: FinishedRun, copied_store: Any) -> None:
    store, job = copied_store(run.store), job_of(run)
    path = Path(store.uri) / store.require(*job.identity.key).artefacts[0].path
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedArtefactError):
        read_activations(store, job.identity.id, block=0, layer_input=XGLM.input_names[0])
    assert pending_jobs(run.plan.jobs, store) == [job]


def test_without_the_key_nothing_is_stored(small_run: FinishedRun) -> None:
    assert not [job for job in small_run.plan.jobs if isinstance(job, ActivationsJob)]
    assert not small_run.store.list("activations")


MT: dict[str, Any] = {**tiny_recipe()["demonstrations"][0], "source": "fr"}
TOKEN_BYTES = 3 * (16 + 16 + 16 + 64) * 4
GIB = 2**30


def plan_of(folder: Path, activations: dict[str, Any] | None, **entry: Any) -> Plan:
    own = {**MT, **entry, **({} if activations is None else {"activations": activations})}
    recipe = {**tiny_recipe(), "demonstrations": [own], "variants": [], "evaluations": []}
    return build_plan(parse_recipe(recipe, folder=folder))


def jobs_of(plan: Plan) -> list[ActivationsJob]:
    return [job for job in plan.jobs if isinstance(job, ActivationsJob)]


def test_activations_are_a_separate_job_and_change_no_other_id(tiny_inputs: Path) -> None:
    plain, plan = plan_of(tiny_inputs, None), plan_of(tiny_inputs, {"quota_gib": 1})
    (job,) = jobs_of(plan)
    assert [one for one in plan.jobs if one is not job] == list(plain.jobs)
    assert (job.blocks, job.inputs) == ((0, 1, 2), ("self_attn.q_proj", "self_attn.out_proj", "fc1", "fc2"))
    assert job.needs == (("demonstration_sets", job.demonstration_set_id),)
    assert job.most_bytes == 4 * 48 * TOKEN_BYTES


def test_the_identity_has_what_is_stored_but_not_the_quota(tiny_inputs: Path) -> None:
    def identity(**activations: Any) -> str:
        (job,) = jobs_of(plan_of(tiny_inputs, {"quota_gib": 1, **activations}))
        return job.identity.id

    assert identity() == identity(quota_gib=2) == identity(blocks=[2, 0, 1]) == identity(samples=4)
    others = [identity(blocks=[1]), identity(inputs=["fc1"]), identity(samples=3), identity(dtype="float16")]
    assert len({identity(), *others}) == 5


@pytest.mark.parametrize(
    ("choice", "share"),
    [
        ({}, 1),
        ({"dtype": "float16"}, 0.5),
        ({"blocks": [0]}, 1 / 3),
        ({"inputs": ["fc2"]}, 4 / 7),
        ({"samples": 1}, 0.25),
    ],
)
def test_the_estimate_follows_the_choice_and_the_quota_is_exact_to_the_byte(
    tiny_inputs: Path, choice: dict[str, Any], share: float
) -> None:
    most = round(4 * 48 * TOKEN_BYTES * share)
    (job,) = jobs_of(plan_of(tiny_inputs, {"quota_gib": most / GIB, **choice}))
    assert job.most_bytes == most
    expected = "quota_gib: 0.001, or fewer blocks, inputs or samples"
    with refused(RecipeError, demonstrations="mt", expected=expected):
        plan_of(tiny_inputs, {"quota_gib": (most - 1) / GIB, **choice})


@pytest.mark.parametrize("choice", [{"blocks": [3]}, {"inputs": ["fc3"]}, {"samples": 5}])
def test_choices_that_the_model_or_the_set_does_not_have_are_refused_with_the_name_of_the_set(
    tiny_inputs: Path, choice: dict[str, Any]
) -> None:
    with refused(RecipeError, demonstrations="mt"):
        plan_of(tiny_inputs, {"quota_gib": 1, **choice})


def test_a_token_budget_bounds_the_estimate(tiny_inputs: Path) -> None:
    (job,) = jobs_of(plan_of(tiny_inputs, {"quota_gib": 1}, samples=None, token_budget=50))
    assert job.most_bytes == 50 * TOKEN_BYTES


def test_sets_of_one_entry_have_their_own_activations(tiny_inputs: Path) -> None:
    plan = plan_of(tiny_inputs, {"quota_gib": 1}, source=["fr", "sw"])
    sets = [job.demonstration_set_id for job in plan.jobs if isinstance(job, ObserveJob)]
    assert [job.demonstration_set_id for job in jobs_of(plan)] == sets
    assert len(set(sets)) == 2


def test_disk_and_passes_of_the_plan_count_them(tiny_inputs: Path) -> None:
    plan = plan_of(tiny_inputs, {"quota_gib": 1, "samples": 2})
    (job,) = jobs_of(plan)
    (observe,) = (one for one in plan.jobs if isinstance(one, ObserveJob))
    sizes = footprint(Path(plan.model.path), plan.model.dtype)
    stored, observed = costs_of(plan, sizes, [job, observe])
    assert (stored.disk_bytes, stored.n_passes) == (job.most_bytes, 1)
    assert stored.flops == observed.flops, "half the demonstrations, each block twice"
