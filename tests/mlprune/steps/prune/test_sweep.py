"""The sequential sweep: compared with a sweep by hand, killed and resumed, with shards and threads."""

import functools
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from mlprune.errors import WorkerLostError
from mlprune.models.local_chain import local_chain
from mlprune.models.shard import Shard
from mlprune.numeric.weights.sparsegpt import sparsegpt
from mlprune.processes.job_parts import PartCounter, counting_parts
from mlprune.pruning.mask_files import read_block_weights
from mlprune.steps.observe.statistics_files import read_block_statistics
from mlprune.steps.prune.sweep import SweepJob
from mlprune.steps.variants.variant_rows import require_masks
from mlprune.store.store import Store
from tests.chains import TransportChain, WatchedChain, chain_with_masks, worker_threads
from tests.method_reference import LAYERS, ByHand, counted, demonstrations
from tests.pretended_gpus import pretended_gpus
from tests.tiny_models import ARCHITECTURES
from tests.tiny_recipes import (
    FinishedRun,
    chain_of,
    contents,
    layer_inputs,
    method_recipe,
    store_with_sets,
)

XGLM = ARCHITECTURES["xglm"].kinds[0]


def sweeps(run: FinishedRun) -> list[SweepJob]:
    return [job for job in run.plan.jobs if isinstance(job, SweepJob)]


def sweep_of(run: FinishedRun, name: str) -> SweepJob:
    (variant,) = run.named(name, "sequential")
    return next(job for job in sweeps(run) if job.variant.id == variant.id)


def with_sets_only(run: FinishedRun, folder: Path) -> Store:
    """A store that contains only the demonstration sets and the values of blocks."""
    store = store_with_sets(run, *(key for _, key in run.store.record_names("demonstration_sets")), folder=folder)
    for kind in ("outliers", "block_values"):
        for record in run.store.records(kind):
            store.write_record(record)
    return store


def assert_same_files(store: Store, undisturbed: Store, job: SweepJob) -> None:
    """Every file of the store equals that of the undisturbed store, including the record of the variant."""
    expected = contents(undisturbed)
    for path, data in contents(store).items():
        assert data == expected[path], path
    result = store.require(*job.variant.identity.key)
    assert len(require_masks(store, result.id).masks) == 3
    assert store.is_intact(result)


SEQUENTIAL = [str(one["name"]) for one in method_recipe()["variants"] if "sequential" in one.get("propagation", ())]


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("name", SEQUENTIAL)
def test_the_masks_of_every_method_are_those_of_a_sweep_by_hand(method_run: FinishedRun, name: str) -> None:
    (variant,) = method_run.named(name, "sequential")
    masks, expected = method_run.keep_masks(variant.id), ByHand(method_run.folder, variant).keep_masks()
    assert list(masks) == list(expected)
    assert [key for key, mask in masks.items() if not torch.equal(mask, expected[key])] == []
    (dense,) = method_run.named(name, "dense")
    same = [torch.equal(mask, masks[key]) for key, mask in method_run.keep_masks(dense.id).items()]
    assert all(same[:6])
    assert not all(same)


# SparseGPT

SPARSEGPT = ("sparsegpt", "sparsegpt-n-m", "sparsegpt-scope")


def changed_weights(run: FinishedRun, variant_id: str) -> dict[tuple[int, str], torch.Tensor]:
    files = require_masks(run.store, variant_id).weights
    result = [read_block_weights(run.store, one) for one in files]
    return {(block, layer): weight for block, layers in enumerate(result) for layer, weight in layers.items()}


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("name", SPARSEGPT)
def test_sparsegpt_updates_every_block_after_the_updated_blocks_before_it(method_run: FinishedRun, name: str) -> None:
    (variant,) = method_run.named(name)
    by_hand = ByHand(method_run.folder, variant)
    sparsities = by_hand.sparsities()
    masks, weights = method_run.keep_masks(variant.id), changed_weights(method_run, variant.id)
    for block in range(3):
        products: dict[str, torch.Tensor] = {}
        for ids, sides, shots in demonstrations(method_run.folder, "fr-en", paper=False):
            inputs = layer_inputs(by_hand.model, ids, layers=XGLM.input_names)
            keep = torch.tensor(counted(sides, shots, "all"))
            for layer in XGLM.input_names:
                read = inputs[block, layer][keep].double()
                products[layer] = products.get(layer, 0) + read.t() @ read
        for layer in LAYERS:
            key, weight = (block, layer), by_hand.weight(block, layer)
            if sparsities[key] == 0:
                assert masks[key].all()
                assert key not in weights
                continue
            damping = variant.spec.score.score_parameters.damping
            options = {"structure": variant.spec.structure, "damping": damping}
            expected = sparsegpt(weight, products[XGLM.input_of(layer)], sparsity=sparsities[key], **options)
            assert torch.equal(masks[key], expected.keep)
            torch.testing.assert_close(weights[key], expected.weight, rtol=1e-4, atol=1e-5)
            assert (weights[key][~masks[key]] == 0).all()
            assert not torch.equal(weights[key][masks[key]], weight[masks[key]])
            weight.copy_(weights[key])


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize(
    ("name", "stop_at", "files_are_written"),
    [
        ("mean", 1, False),
        ("contrast", 2, False),
        ("owl", 1, False),
        ("paper", 2, False),
        *((name, stop_at, False) for name, stop_at in zip(SPARSEGPT, (1, 2, 2), strict=True)),
        *((name, 1, True) for name in ("contrast", "sparsegpt")),
    ],
)
def test_a_killed_sweep_resumes_at_the_block_where_it_stopped(
    method_run: FinishedRun, tmp_path: Path, name: str, stop_at: int, files_are_written: bool
) -> None:
    """Also if a shard wrote its files and no record names them."""
    job = sweep_of(method_run, name)
    store = with_sets_only(method_run, tmp_path / "store")
    killed = WatchedChain(chain_of(method_run.plan), stop_at=stop_at, files_are_written=files_are_written)
    with pytest.raises(WorkerLostError):
        job.run(store, lambda: killed)
    assert any(f"block-00{stop_at}" in path for path in store.list("masks")) == files_are_written
    assert len(store.record_names("mask_blocks")) == stop_at
    assert store.read_record(*job.variant.identity.key) is None
    resumed = WatchedChain(chain_of(method_run.plan))
    with counting_parts(counter := PartCounter(job.step)):
        job.run(store, lambda: resumed)
    assert (parts := counter.parts) is not None
    assert (parts.kind, parts.n, parts.share, parts.found) == ("block", 3, 1, pytest.approx(stop_at / 3))
    assert set(killed.blocks_of(Shard.sweep_observe)) == set(range(stop_at + 1))
    for method in (Shard.sweep_observe, Shard.sweep_prune):
        assert set(resumed.blocks_of(method)) == set(range(stop_at, 3))
    assert set(resumed.blocks_of(Shard.sweep_advance)) == {0, 1}
    assert_same_files(store, method_run.store, job)


def test_a_killed_sweep_leaves_no_states_in_the_shards(small_run: FinishedRun, tmp_path: Path) -> None:
    (job,) = sweeps(small_run)
    chain = local_chain(Path(small_run.plan.model.path), n_shards=2)
    with pytest.raises(WorkerLostError):
        job.run(with_sets_only(small_run, tmp_path / "store"), lambda: WatchedChain(chain, stop_at=1))
    for block in (0, 2):
        with pytest.raises(KeyError):
            chain.on_block(block, Shard.sweep_release, ("", 0))


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize(("name", "n_shards"), [("mean", 2), ("contrast", 3), ("target", 2), ("sparsegpt", 3)])
def test_shards_and_masks_left_on_the_chain_change_no_byte(
    method_run: FinishedRun, tmp_path: Path, n_shards: int, name: str
) -> None:
    job = sweep_of(method_run, name)
    store = with_sets_only(method_run, tmp_path / "store")
    chain = chain_with_masks(Path(method_run.plan.model.path), n_shards=n_shards)
    job.run(store, lambda: chain)
    assert_same_files(store, method_run.store, job)


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize(("name", "n_gpus"), [("contrast", 0), ("sparsegpt", 1)])
def test_of_a_shard_only_hidden_states_and_descriptions_of_files_are_sent(
    method_run: FinishedRun, tmp_path: Path, name: str, n_gpus: int
) -> None:
    """Pickling a tensor of a pretended GPU raises."""
    with pretended_gpus(n_gpus) if n_gpus else nullcontext():
        _check_what_a_shard_sends(method_run, with_sets_only(method_run, tmp_path / "store"), name)


def _check_what_a_shard_sends(method_run: FinishedRun, store: Store, name: str) -> None:
    job = sweep_of(method_run, name)
    chain = TransportChain(local_chain(Path(method_run.plan.model.path), n_shards=3))
    job.run(store, lambda: chain)
    assert_same_files(store, method_run.store, job)
    assert set(chain.tensors) <= {"sweep_release"}
    assert chain.result_bytes["sweep_prune"] < 3 * 1500  # a dense block has 12,288 bytes of weights
    resumed = TransportChain(local_chain(Path(method_run.plan.model.path), n_shards=3))
    job.run(store, lambda: resumed)
    assert set(resumed.tensors) <= {"sweep_release"}
    assert resumed.result_bytes["sweep_prune"] == 0
    assert resumed.result_bytes["exchange_changes"] < 100


@pytest.mark.parametrize("name", ["contrast", "sparsegpt"])
def test_threads_change_no_byte(method_run: FinishedRun, tmp_path: Path, name: str) -> None:
    job = sweep_of(method_run, name)
    store = with_sets_only(method_run, tmp_path / "store")
    with worker_threads(2):
        job.run(store, lambda: chain_of(method_run.plan))
    assert_same_files(store, method_run.store, job)


def test_a_sweep_leaves_no_changed_weight_to_the_next_one(method_run: FinishedRun, tmp_path: Path) -> None:
    store = with_sets_only(method_run, tmp_path / "store")
    chain = chain_of(method_run.plan)
    for name in ("sparsegpt", "mean", "sparsegpt-n-m", "contrast"):
        job = sweep_of(method_run, name)
        job.run(store, lambda: chain)
        assert_same_files(store, method_run.store, job)


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize(("name", "folder"), [("mean", "masks"), ("mean", "statistics"), ("sparsegpt", "weights")])
def test_a_block_whose_files_were_damaged_without_changing_size_is_made_again(
    method_run: FinishedRun, tmp_path: Path, name: str, folder: str
) -> None:
    job = sweep_of(method_run, name)
    store = with_sets_only(method_run, tmp_path / "store")
    job.run(store, lambda: chain_of(method_run.plan))
    assert store.local_root is not None
    variant = store.require(*job.variant.identity.key)
    files = require_masks(store, variant.id).record.artefacts
    path = next(one.path for one in files if one.path.startswith(folder) and "block-001" in one.path)
    data = bytearray((store.local_root / path).read_bytes())
    data[len(data) // 2] ^= 1
    (store.local_root / path).write_bytes(bytes(data))
    store.quarantine(variant)
    chain = WatchedChain(chain_of(method_run.plan))
    job.run(store, functools.cache(lambda: chain))
    assert set(chain.blocks_of(Shard.sweep_observe)) == {1}
    assert_same_files(store, method_run.store, job)


def test_the_statistics_of_a_sweep_are_stored_in_its_ordering(method_run: FinishedRun) -> None:
    roles = {"mean": ("set-1", "set-2"), "contrast": ("set-1", "set-2", "contrast"), "target": ("",)}
    for name, expected in roles.items():
        job = sweep_of(method_run, name)
        record = method_run.store.require(*job.ordering.key)
        paths = [one.path for one in record.artefacts if one.path.startswith("statistics/")]
        assert all(path.startswith(f"statistics/{job.variant.id}/block-") for path in paths)
        assert len(paths) == 3 * len(expected)
        for role in expected:
            result = read_block_statistics(method_run.store, record.artefacts, 2, role=role)
            assert [tuple(one.shape) for one in result.values()] == [(4, 16), (4, 16), (4, 16), (4, 64)]


def test_the_last_block_is_not_run_again_once_it_is_pruned(method_run: FinishedRun, tmp_path: Path) -> None:
    chain = WatchedChain(chain_of(method_run.plan))
    sweep_of(method_run, "mean").run(with_sets_only(method_run, tmp_path / "store"), lambda: chain)
    methods = (Shard.sweep_observe, Shard.sweep_advance)
    passes = [call for call in chain.calls if call[0] in methods]
    assert passes == [(method, block) for block in range(3) for method in methods][:-1]
