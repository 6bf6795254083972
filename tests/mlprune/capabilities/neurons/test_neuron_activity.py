"""Stored neuron counts, compared with transformers running one demonstration at a time."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from mlprune.capabilities.neurons.neuron_activity import ActiveNeuronVisitor, NeuronActivityJob
from mlprune.models.architecture.architecture import oriented
from mlprune.models.checkpoint.weight_files import WeightFiles, weight_name
from mlprune.models.local_chain import local_chain
from mlprune.planning import Plan, build_plan
from mlprune.recipe.loading import parse_recipe
from tests.chains import LENGTHS, chain_with_masks, whole_batch, worker_threads
from tests.tiny_models import ALL_FAMILY_NAMES, ARCHITECTURES, save_tiny_model
from tests.tiny_recipes import (
    FinishedRun,
    contents,
    finished_run,
    layer_inputs,
    reference_model,
    small_recipe,
    tiny_recipe,
)


@pytest.fixture(scope="module")
def counted_run(tiny_inputs: Path) -> Iterator[FinishedRun]:
    """Sets of two languages whose neurons are counted, and a set whose neurons are not."""
    recipe = small_recipe()
    sizes = {"shots": 2, "samples": 4, "max_tokens": 48}
    recipe["demonstrations"].append({"name": "mono", "kind": "monolingual", "language": ["fr", "sw"], **sizes})
    recipe["evaluations"] = []
    recipe["analyses"] = {"neurons": ["mono"]}
    return finished_run(tiny_inputs, recipe, name="counted-neurons")


def jobs_of(counted_run: FinishedRun) -> list[NeuronActivityJob]:
    return [job for job in counted_run.plan.jobs if isinstance(job, NeuronActivityJob)]


def test_counts_are_those_of_each_demonstration_alone(counted_run: FinishedRun) -> None:
    model = reference_model(counted_run.folder / "model")
    assert len(jobs_of(counted_run)) == 2
    for job in jobs_of(counted_run):
        source = counted_run.store.require("demonstration_sets", job.demonstration_set_id).artefacts[0]
        texts = counted_run.store.read_table(source)["token_ids"]
        reads = [layer_inputs(model, ids, layers=("fc2",)) for ids in texts]
        rows = counted_run.store.require(*job.identity.key).rows["neuron_activity"]
        assert [row["block"] for row in rows] == [0, 1, 2]
        for row in rows:
            fired = torch.cat([one[row["block"], "fc2"] for one in reads]) > 0
            assert row["n_active"] == fired.sum(dim=0).tolist()
            assert row["n_tokens"] == len(fired) == sum(len(ids) for ids in texts)
            assert row["demonstration_set_id"] == job.demonstration_set_id


@pytest.mark.parametrize(("n_shards", "n_threads"), [(1, 2), (2, 1), (3, 2)])
def test_shards_threads_and_earlier_masks_change_no_byte(
    counted_run: FinishedRun, copied_store: Any, n_shards: int, n_threads: int
) -> None:
    store = copied_store(counted_run.store)
    chain = chain_with_masks(Path(counted_run.plan.model.path), n_shards=n_shards)
    with worker_threads(n_threads):
        for job in jobs_of(counted_run):
            job.run(store, lambda: chain)
    assert contents(store) == contents(counted_run.store)


def test_the_batch_size_changes_no_count_of_this_model(counted_run: FinishedRun, copied_store: Any) -> None:
    store, (job, _) = copied_store(counted_run.store), jobs_of(counted_run)
    dataclasses.replace(job, batch_tokens=16).run(store, lambda: local_chain(Path(counted_run.plan.model.path)))
    assert store.require(*job.identity.key) == counted_run.store.require(*job.identity.key)


def plan_of(folder: Path, *names: str, **changes: Any) -> Plan:
    recipe = {**tiny_recipe(), "variants": [], "evaluations": [], **changes}
    sizes = {"shots": 2, "samples": 4, "max_tokens": 48}
    recipe["demonstrations"].append({"name": "both", "kind": "monolingual", "language": ["fr", "sw"], **sizes})
    return build_plan(parse_recipe({**recipe, "analyses": {"neurons": list(names)}}, folder=folder))


def counted(plan: Plan) -> list[NeuronActivityJob]:
    return [job for job in plan.jobs if isinstance(job, NeuronActivityJob)]


def test_every_named_set_is_counted_once_after_the_job_that_makes_it(tiny_inputs: Path) -> None:
    plan = plan_of(tiny_inputs, "mono", "both", "code")
    made = {key: place for place, job in enumerate(plan.jobs) for key in job.makes}
    found = counted(plan)
    assert len(found) == len({job.demonstration_set_id for job in found}) == 3  # mono is one of both
    for job in found:
        assert made[job.needs[0]] < made[job.identity.key]


def test_without_names_nothing_is_counted_and_all_other_ids_are_the_same(tiny_inputs: Path) -> None:
    without, with_neurons = plan_of(tiny_inputs), plan_of(tiny_inputs, "both")
    assert not counted(without)
    own = {job.identity.key for job in counted(with_neurons)}
    assert [key for job in without.jobs for key in job.makes] == [
        key for job in with_neurons.jobs for key in job.makes if key not in own
    ]


def test_the_ids_of_counts_cover_everything_they_depend_on(tiny_inputs: Path) -> None:
    first, *others = (
        {job.identity.id for job in counted(plan_of(tiny_inputs, "both", **changes))}
        for changes in ({}, {"model": {"path": "model", "dtype": "bfloat16"}}, {"compute": {"batch_tokens": 64}})
    )
    assert all(first.isdisjoint(one) for one in others)
    assert {job.identity.id for job in counted(plan_of(tiny_inputs, "both", compute={"batch_tokens": 128}))} == first


def active_neurons(chain):
    return next(chain.stream(ActiveNeuronVisitor, [whole_batch()]))


def positive_inputs(model, architecture):
    """Block -> [neurons], tokens at which the input of the activation function is positive, one text at a time.

    Every activation function here keeps the sign. Of a gated feed-forward the gate is what counts; where gate
    and up projection are one layer, it comes first.
    """
    (kind,) = architecture.kinds
    layer = kind.feed_forward.before[0]
    read = {}
    for block, module in enumerate(model.get_submodule(architecture.blocks)):
        hook = lambda _, args, block=block: read.update({block: args[0].reshape(-1, args[0].shape[-1])})  # noqa: E731
        module.get_submodule(layer).register_forward_pre_hook(hook)
    texts, counts = whole_batch(), {}
    for row, length in enumerate(LENGTHS[:3]):
        with torch.inference_mode():
            model(texts.token_ids[row : row + 1, :length], use_cache=False)
        for block, inputs in read.items():
            linear = model.get_submodule(f"{architecture.blocks}.{block}.{layer}")
            before = inputs.double() @ oriented(linear.weight, kind).T.double()
            before = before + (0 if linear.bias is None else linear.bias.double())
            counts[block] = counts.get(block, 0) + (before > 0).sum(dim=0)
    return counts


def oriented_weight(path, architecture, block, layer):
    stored = WeightFiles(path, architecture).read(weight_name(architecture, block, layer), torch.float32)
    return oriented(stored, architecture.block(block))


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("name", ALL_FAMILY_NAMES)
def test_a_neuron_fires_if_the_input_of_its_activation_function_is_positive(name, tmp_path):
    architecture, path = ARCHITECTURES[name], save_tiny_model(tmp_path, name)
    active = active_neurons(local_chain(path))
    expected = positive_inputs(AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval(), architecture)
    assert active.n_tokens == sum(LENGTHS[:3])
    assert list(active.counts) == list(expected) == [0, 1, 2]
    for block, counts in active.counts.items():
        assert counts.dtype == torch.int64
        assert torch.equal(counts, expected[block][: len(counts)])
        part = architecture.block(block).feed_forward
        before, after = (oriented_weight(path, architecture, block, layer) for layer in (part.before[-1], part.after))
        assert (before.shape[0] % len(counts), after.shape[1]) == (0, len(counts))
        assert 0 < int(counts.sum()) < counts.numel() * sum(LENGTHS[:3])
