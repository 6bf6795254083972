"""Jobs of variants with codes: killed, resumed, on shards, with threads, on disk, retired and made again."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from mlprune.capabilities.quantisation.coded import CodeJob
from mlprune.errors import WorkerLostError
from mlprune.models.local_chain import local_chain
from mlprune.models.shard import Shard
from mlprune.processes.job_parts import PartCounter, counting_parts
from mlprune.steps.variants.variant_rows import stored_masks
from mlprune.store.retention import Ranking, Remaking, RetentionRules, decide, mask_files, retire
from mlprune.store.store import Store
from tests.chains import TransportChain, WatchedChain, budget_for, chain_with_masks, worker_threads
from tests.mlprune.capabilities.quantisation.test_coded import job_of
from tests.pretended_gpus import pretended_gpus
from tests.pretended_gpus.pickled_chain import pickled_chain
from tests.tiny_recipes import FinishedRun, chain_of, contents, copy_of, store_with_sets

pytestmark = pytest.mark.thorough("runs jobs again, and kills processes")


@pytest.fixture(name="run")
def _run(coded_run: FinishedRun) -> FinishedRun:
    return coded_run


def with_parent_only(run: FinishedRun, job: CodeJob, folder: Path) -> Store:
    """A store that contains what a job needs."""
    store = store_with_sets(run, *job.variant.set_ids, folder=folder)
    parent = run.store.require(*job.variant.parent.identity.key)
    masks = stored_masks(run.store, parent)
    for artefact in masks.record.artefacts if masks else ():
        store.write_bytes(artefact.path, run.store.read_bytes(artefact))
    for record in (*([masks.record] if masks else []), parent):
        store.write_record(record)
    return store


def assert_same_files(store: Store, undisturbed: Store) -> None:
    expected = contents(undisturbed)
    found = contents(store)
    assert any(path.startswith("weights/") for path in found)
    for path, data in found.items():
        assert data == expected[path], path


@pytest.mark.parametrize("name", ["own", "two", "units"])
@pytest.mark.parametrize("files_are_written", [False, True])
def test_a_lost_job_resumes_at_the_block_where_it_stopped(
    run: FinishedRun, tmp_path: Path, name: str, files_are_written: bool
) -> None:
    job = job_of(run, name)
    store = with_parent_only(run, job, tmp_path / "store")
    watch: dict[str, Any] = {"stop_at": 1, "files_are_written": files_are_written}
    with pytest.raises(WorkerLostError):
        job.run(store, lambda: WatchedChain(chain_of(run.plan), **watch))
    assert store.read_record(*job.variant.identity.key) is None
    resumed = WatchedChain(chain_of(run.plan))
    with counting_parts(counter := PartCounter(job.step)):
        job.run(store, lambda: resumed)
    assert resumed.blocks_of(Shard.sweep_prune) == [1, 2]
    assert (parts := counter.parts) is not None
    assert (parts.kind, parts.n, parts.found) == ("block", 3, pytest.approx(1 / 3))
    assert_same_files(store, run.store)


def die_at_write(run: FinishedRun, job: CodeJob, store: Store, n_writes: int) -> None:
    """Run a job, and die by SIGKILL at a write to the store."""
    left = [n_writes]

    def counted(write: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return write(*arguments, **named)

        return call

    with patch.object(Path, "replace", counted(Path.replace)), patch.object(os, "replace", counted(os.replace)):
        job.run(store, lambda: chain_of(run.plan))
    os._exit(0)


@pytest.mark.parametrize("name", ["own", "nearest", "units"])
def test_a_job_that_is_killed_at_any_write_leaves_nothing_that_changes_the_bytes(
    run: FinishedRun, tmp_path: Path, name: str
) -> None:
    job, signals = job_of(run, name), []
    for n_writes in (0, 1, 2, 3, 5, 8):
        store = with_parent_only(run, job, tmp_path / f"store-{n_writes}")
        if (child := os.fork()) == 0:
            try:
                die_at_write(run, job, store, n_writes)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        signals.append(os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.WEXITSTATUS(status))
        job.run(store, lambda: chain_of(run.plan))
        assert_same_files(store, run.store)
    assert signals == [signal.SIGKILL] * len(signals)


@pytest.mark.parametrize(
    ("name", "n_shards", "n_threads"), [("own", 2, 1), ("two", 3, 1), ("changed", 1, 2), ("units", 2, 2)]
)
def test_shards_and_threads_change_no_byte(
    run: FinishedRun, tmp_path: Path, name: str, n_shards: int, n_threads: int
) -> None:
    job = job_of(run, name)
    store = with_parent_only(run, job, tmp_path / "store")
    chain = TransportChain(chain_with_masks(Path(run.plan.model.path), n_shards=n_shards))
    with worker_threads(n_threads):
        job.run(store, lambda: chain)
    assert_same_files(store, run.store)
    assert set(chain.tensors) <= {"sweep_release"}


@pytest.mark.parametrize("name", ["own", "nearest", "units"])
def test_pretended_gpus_change_no_byte(run: FinishedRun, tmp_path: Path, name: str) -> None:
    job = job_of(run, name)
    store = with_parent_only(run, job, tmp_path / "store")
    with pretended_gpus(2) as ledger:
        chain = pickled_chain(Path(run.plan.model.path), n_shards=2)
        ledger.clear()
        job.run(store, lambda: chain)
    assert ledger.kernels
    assert_same_files(store, run.store)


@pytest.mark.parametrize("name", ["own", "nearest"])
def test_blocks_on_disk_change_no_byte(run: FinishedRun, tmp_path: Path, name: str) -> None:
    job = job_of(run, name)
    store, path = with_parent_only(run, job, tmp_path / "store"), Path(run.plan.model.path)
    job.run(store, lambda: local_chain(path, budget=budget_for(path, 1)))
    assert_same_files(store, run.store)


def test_codes_are_retired_with_their_masks_and_made_again_as_they_were(run: FinishedRun, tmp_path: Path) -> None:
    store = copy_of(run.store, tmp_path / "store")
    before = contents(store)
    coded = {job.ordering.id: job for job in run.plan.jobs if isinstance(job, CodeJob)}
    found = [one for one in mask_files(store) if one.ordering_id in coded]
    assert {one.ordering_id for one in found} == set(coded)
    assert {one.remaking for one in found} == {Remaking.WITH_THE_MODEL}
    decisions = decide(found, Ranking({}, {}), RetentionRules())
    assert all(decision.is_retired for decision in decisions)
    n_bytes = retire(store, decisions)
    gone = {path for path in before if path not in contents(store)}
    assert {path.partition("/")[0] for path in gone} == {"masks", "weights"}
    assert n_bytes == sum(len(before[path]) for path in gone)
    assert {path.split("/")[1] for path in gone if path.startswith("weights/")} == {
        job.variant.id for job in coded.values()
    }
    for job in coded.values():
        job.run(store, lambda: chain_of(run.plan))
    after = contents(store)
    assert all(after[path] == before[path] for path in gone)
