"""The sequential sweep: against a sweep by hand, killed and resumed, cut into shards."""

import functools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mlprune.errors import WorkerLostError
from mlprune.models.chain import Chain, local_chain
from mlprune.models.families import FAMILIES
from mlprune.pruning.mask_files import stored_keep_masks
from mlprune.steps.prune import mask_artefacts
from mlprune.steps.statistics_files import read_block_statistics
from mlprune.steps.sweep import SweepJob
from mlprune.storage import Store
from tests.tiny_recipes import FinishedRun, chain_of, contents, layer_inputs, reference_model

XGLM = FAMILIES["xglm"]


class WatchedChain:
    """A chain that notes its calls, and raises when a block is about to be pruned."""

    def __init__(self, inner: Chain, *, stop_at: int | None = None) -> None:
        self._inner = inner
        self._stop_at = stop_at
        self.n_blocks = inner.n_blocks
        self.spans = inner.spans
        self.calls: list[tuple[str, int]] = []

    def on_block(self, block: int, operation: str, *args: Any) -> Any:
        if (operation, block) == ("prune_block", self._stop_at):
            raise WorkerLostError("killed", block=block)
        self.calls.append((operation, block))
        return self._inner.on_block(block, operation, *args)

    def stream(self, operation: str, items: Iterable[Any]) -> Iterator[Any]:
        return self._inner.stream(operation, items)

    def everywhere(self, operation: str, *args: Any) -> list[Any]:
        return self._inner.everywhere(operation, *args)

    def blocks_of(self, operation: str) -> set[int]:
        return {block for name, block in self.calls if name == operation}


def sweeps(run: FinishedRun) -> list[SweepJob]:
    return [job for job in run.plan.jobs if isinstance(job, SweepJob)]


def with_sets_only(run: FinishedRun, folder: Path) -> Store:
    """A store in which nothing but the demonstration sets is done."""
    store = Store(folder)
    for job in run.plan.jobs:
        if job.step == "demonstrate":
            job.run(store, None)  # type: ignore[arg-type]
    return store


def assert_same_files(store: Store, undisturbed: Store, job: SweepJob) -> None:
    """Every file of the store is in the undisturbed one, byte for byte, and the variant's record among them."""
    expected = contents(undisturbed)
    for path, data in contents(store).items():
        assert data == expected[path], path
    found = store.require(*job.variant.identity.key)
    assert len(mask_artefacts(found)) == 3
    assert store.is_intact(found)


@pytest.mark.parametrize("position", range(7))
def test_masks_are_those_of_a_sweep_by_hand(tiny_run: FinishedRun, position: int) -> None:
    job = sweeps(tiny_run)[position]
    sets = [job.variant.demonstration_set_id, job.variant.contrast_set_id]
    tables = [
        tiny_run.store.read_table(tiny_run.store.require("demonstration_sets", s).artefacts[0]) for s in sets if s
    ]
    model = reference_model(tiny_run.folder / "model")
    record = tiny_run.store.require(*job.variant.identity.key)
    for block, artefact in enumerate(mask_artefacts(record)):
        masks, _ = stored_keep_masks(dict.fromkeys(XGLM.layers, torch.empty(0)), tiny_run.store.uri, artefact, 0)
        means = []
        for table in tables:
            read = [layer_inputs(model, ids, layers=XGLM.input_names) for ids in table["token_ids"]]
            squares = [{key: one.double().square().sum(dim=0) for key, one in each.items()} for each in read]
            means.append(
                {name: torch.stack([s[block, name] for s in squares]).mean(dim=0) for name in XGLM.input_names}
            )
        for layer in XGLM.layers:
            weight = model.model.layers[block].get_submodule(layer).weight
            s = means[0][XGLM.input_of(layer)]
            if len(means) == 2:
                s = s * (s / means[1][XGLM.input_of(layer)])
            scores = weight.detach().double().abs() * s.sqrt()
            n_removed = int(job.variant.sparsity * scores.shape[1])
            removed = torch.zeros_like(scores, dtype=torch.bool)
            removed.scatter_(1, scores.argsort(dim=1, stable=True)[:, :n_removed], value=True)
            assert torch.equal(masks[layer], ~removed)
            weight.data[removed] = 0


def test_a_sweep_killed_after_block_1_goes_on_where_it_stopped(small_run: FinishedRun, tmp_path: Path) -> None:
    (job,) = sweeps(small_run)
    store = with_sets_only(small_run, tmp_path / "store")
    killed = WatchedChain(chain_of(small_run.plan), stop_at=2)
    with pytest.raises(WorkerLostError):
        job.run(store, lambda: killed)
    assert len(store.record_names("mask_blocks")) == 2
    assert store.read_record(*job.variant.identity.key) is None
    resumed = WatchedChain(chain_of(small_run.plan))
    job.run(store, lambda: resumed)
    assert killed.blocks_of("sweep_observe") == {0, 1, 2}
    assert resumed.blocks_of("sweep_observe") == {2}
    assert resumed.blocks_of("sweep_advance") == {0, 1}
    assert_same_files(store, small_run.store, job)


def test_a_killed_sweep_leaves_no_states_in_the_shards(small_run: FinishedRun, tmp_path: Path) -> None:
    (job,) = sweeps(small_run)
    chain = local_chain(Path(small_run.plan.model.path), n_shards=2)
    with pytest.raises(WorkerLostError):
        job.run(with_sets_only(small_run, tmp_path / "store"), lambda: WatchedChain(chain, stop_at=1))
    assert not any(shard._resident for shard in chain._shards)


@pytest.mark.parametrize("n_shards", [2, 3])
def test_shards_and_masks_left_on_the_chain_change_no_byte(
    small_run: FinishedRun, tmp_path: Path, n_shards: int
) -> None:
    (job,) = sweeps(small_run)
    store = with_sets_only(small_run, tmp_path / "store")
    chain = local_chain(Path(small_run.plan.model.path), n_shards=n_shards)
    chain.everywhere("set_keep_masks", {(0, "fc1"): torch.zeros(64, 16, dtype=torch.bool)})
    job.run(store, lambda: chain)
    assert_same_files(store, small_run.store, job)


@pytest.mark.parametrize("folder", ["masks", "statistics"])
def test_a_block_whose_files_were_damaged_without_changing_size_is_made_again(
    small_run: FinishedRun, copied_store: Any, folder: str
) -> None:
    (job,) = sweeps(small_run)
    store = copied_store(small_run.store)
    variant = store.require(*job.variant.identity.key)
    path = next(one.path for one in variant.artefacts if one.path.startswith(folder) and "block-001" in one.path)
    data = bytearray((store.local_root / path).read_bytes())
    data[len(data) // 2] ^= 1
    (store.local_root / path).write_bytes(bytes(data))
    store.quarantine(variant)
    chain = WatchedChain(chain_of(small_run.plan))
    job.run(store, functools.cache(lambda: chain))
    assert chain.blocks_of("sweep_observe") == {1}
    assert contents(store) == contents(small_run.store)


def test_what_a_sweep_observed_is_stored_under_the_variant(tiny_run: FinishedRun) -> None:
    for job in sweeps(tiny_run):
        record = tiny_run.store.require(*job.variant.identity.key)
        paths = [one.path for one in record.artefacts if one.path.startswith("statistics/")]
        assert all(path.startswith(f"statistics/{job.variant.id}/block-") for path in paths)
        assert len(paths) == (6 if job.variant.contrast_set_id else 3)
        for role in ("", "contrast")[: len(paths) // 3]:
            found = read_block_statistics(tiny_run.store, record, 2, role=role)
            assert [tuple(one.shape) for one in found.values()] == [(4, 16), (4, 16), (4, 16), (4, 64)]


def test_sequential_masks_differ_from_dense_ones_behind_the_first_block(tiny_run: FinishedRun) -> None:
    labels = {one.label: one.id for one in tiny_run.plan.variants.values()}
    records = [
        tiny_run.store.require("variants", labels[f"wanda fr-en 0.5 row {how}"]) for how in ("dense", "sequential")
    ]
    layers = dict.fromkeys(XGLM.layers, torch.empty(0))
    same = []
    for artefacts in zip(*(mask_artefacts(record) for record in records), strict=True):
        levels = [record.rows["variants"][0]["level"] for record in records]
        dense, sequential = (
            stored_keep_masks(layers, tiny_run.store.uri, artefact, level)[0]
            for artefact, level in zip(artefacts, levels, strict=True)
        )
        same.append(all(torch.equal(dense[layer], sequential[layer]) for layer in layers))
    assert same == [True, False, False]
