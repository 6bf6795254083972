"""Whole recipes on pretended GPUs leave the files that the CPU leaves, byte for byte.

The plan is the one of the CPU, so ids and dtypes are equal. The model has two shards, with everything pickled that
passes between them.
"""

from functools import cache
from pathlib import Path

import pytest

from mlprune.planning import pending_jobs
from mlprune.steps.job import ModelRef
from mlprune.store.store import Store
from tests.pretended_gpus import pretended_gpus
from tests.pretended_gpus.pickled_chain import PickledChain, pickled_chain
from tests.pretended_gpus.placements import N_GPUS, PLACEMENTS, place
from tests.tiny_recipes import FinishedRun, results

pytestmark = pytest.mark.thorough("computes on pretended devices")

RUNS = ("small_run", "tiny_run", "method_run", "baseline_run")
DEFAULT = {("small_run", "two")}


def cases():
    """One recipe in one placement; all other combinations are slow.

    What the other recipes compute on a device in addition (greedy decoding, shifted hidden states, other scores and
    structures) is compared with the CPU operation by operation in `test_operations`.
    """
    for run in RUNS:
        for placement in PLACEMENTS:
            yield pytest.param(run, placement, marks=[] if (run, placement) in DEFAULT else [pytest.mark.slow])


@pytest.mark.parametrize(("run", "placement"), cases())
def test_a_recipe_leaves_the_files_of_the_cpu(request, monkeypatch, tmp_path, run, placement):
    on_cpu: FinishedRun = request.getfixturevalue(run)
    store = Store(tmp_path / "store")
    place(monkeypatch, placement)
    with pretended_gpus(N_GPUS) as ledger:
        run_in_two_shards(on_cpu, store)
    assert ledger.kernels
    files, expected = results(store), results(on_cpu.store)
    assert [path for path in expected if files.get(path) != expected[path]] == []
    assert sorted(files) == sorted(expected)


def run_in_two_shards(on_cpu: FinishedRun, store: Store) -> None:
    """Run the jobs of a finished run again, as a worker with two shards does."""

    @cache
    def chain_of(model: ModelRef) -> PickledChain:
        return pickled_chain(Path(model.path), n_shards=2, dtype=model.dtype)

    plan = on_cpu.plan
    store.write_record(plan.record)
    for job in pending_jobs(plan.jobs, store, repair=True):
        job.run(store, lambda model=job.chain_model or plan.model: chain_of(model))
