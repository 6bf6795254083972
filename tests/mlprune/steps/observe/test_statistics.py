"""Observed statistics and features, compared with transformers running one demonstration at a time."""

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mlprune.errors import CorpusError, DamagedArtefactError
from mlprune.models.local_chain import local_chain
from mlprune.models.shard import Shard
from mlprune.planning import pending_jobs
from mlprune.steps.job import Job, make_identity
from mlprune.steps.observe import passes
from mlprune.steps.observe.statistics import SUMS_LAYOUT, CollectPartsJob, ObserveJob, ObservePartJob
from mlprune.steps.observe.statistics_files import read_block_statistics
from mlprune.store.parquet import encode_numeric
from mlprune.store.store import Store
from mlprune.vocabulary import TokenScope
from tests.chains import chain_with_masks, worker_threads
from tests.local_replica import LocalReplica, shared
from tests.method_reference import counted, demonstrations, squares
from tests.tiny_models import ARCHITECTURES
from tests.tiny_recipes import (
    FinishedRun,
    chain_of,
    contents,
    finished_run,
    layer_inputs,
    reference_model,
    run_plan,
    small_recipe,
    store_with_sets,
)

XGLM = ARCHITECTURES["xglm"]


def of_kind(run: FinishedRun, kind: type[Job]) -> list[Any]:
    return [job for job in run.plan.jobs if isinstance(job, kind)]


def observe_jobs(run: FinishedRun) -> list[ObserveJob]:
    return of_kind(run, ObserveJob)


def set_table(run: FinishedRun, job: ObserveJob) -> dict[str, list[Any]]:
    return run.store.read_table(run.store.require("demonstration_sets", job.demonstration_set_id).artefacts[0])


def features(store: Store, job: ObserveJob) -> dict[str, list[Any]]:
    record = store.require(*job.identity.key)
    return store.read_table(next(one for one in record.artefacts if one.path.startswith("features/")))


@pytest.mark.parametrize("position", range(5))
def test_statistics_are_the_sums_of_squares_of_each_demonstration_alone(tiny_run: FinishedRun, position: int) -> None:
    job = observe_jobs(tiny_run)[position]
    record = tiny_run.store.require(*job.identity.key)
    model = reference_model(tiny_run.folder / "model")
    texts = set_table(tiny_run, job)["token_ids"]
    inputs = [layer_inputs(model, ids, layers=XGLM.input_names) for ids in texts]
    for block in range(3):
        found = read_block_statistics(tiny_run.store, record.artefacts, block)
        assert tuple(found) == XGLM.input_names
        for name, rows in found.items():
            reference = torch.stack([one[block, name].double().square().sum(dim=0) for one in inputs])
            torch.testing.assert_close(rows.double(), reference, rtol=1e-5, atol=1e-6)


def observed(run: FinishedRun, name: str, scope: TokenScope) -> ObserveJob:
    """The pass over the set of a variant's name, some of its tokens counted."""
    (set_id,) = run.named(name)[0].spec.set_ids
    (job,) = (job for job in observe_jobs(run) if (job.demonstration_set_id, job.token_scope) == (set_id, scope))
    return job


@pytest.mark.parametrize(
    ("name", "set_name", "scope", "paper"),
    [
        ("target", "fr-en", "target", False),
        ("last-shot", "fr-en", "last_shot", False),
        ("nested", "fr-en", "all", False),
        ("paper", "fr", "all", True),
    ],
)
def test_statistics_are_those_of_the_tokens_that_count(
    method_run: FinishedRun, name: str, set_name: str, scope: TokenScope, paper: bool
) -> None:
    job = observed(method_run, name, scope)
    record = method_run.store.require(*job.identity.key)
    model = reference_model(method_run.folder / "model")
    expected = squares(model, method_run.folder, set_name, scope=scope, paper=paper)
    for block in range(3):
        for layer, rows in read_block_statistics(method_run.store, record.artefacts, block).items():
            reference = torch.from_numpy(expected[block, layer])
            torch.testing.assert_close(rows.double(), reference, rtol=1e-5, atol=1e-6)
    (row,) = record.rows["statistics"]
    texts = demonstrations(method_run.folder, set_name, paper=paper)
    assert row["n_tokens"] == sum(sum(counted(sides, shots, scope)) for _, sides, shots in texts)
    assert row["token_scope"] == scope
    assert row["n_tokens"] > 0


def test_paper_counts_its_padding(method_run: FinishedRun) -> None:
    job = observed(method_run, "paper", "all")
    table = set_table(method_run, job)
    assert {len(ids) for ids in table["token_ids"]} == {48}
    assert {int(ids[-1]) for ids in table["token_ids"]} == {0}


@pytest.mark.thorough("runs a model for every case")
def test_threads_change_no_byte(method_run: FinishedRun, copied_store: Any) -> None:
    store = copied_store(method_run.store)
    with worker_threads(2):
        for job in observe_jobs(method_run):
            job.run(store, functools.cache(lambda: chain_of(method_run.plan)))
    assert contents(store) == contents(method_run.store)


def test_features_are_the_mean_magnitudes_after_every_block(tiny_run: FinishedRun) -> None:
    job = observe_jobs(tiny_run)[0]
    model = reference_model(tiny_run.folder / "model")
    captured: list[list[torch.Tensor]] = []
    for ids in set_table(tiny_run, job)["token_ids"]:
        states: list[torch.Tensor] = []
        modules = [*model.model.layers, model.model.layer_norm]
        handles = [m.register_forward_pre_hook(lambda _, a, s=states: s.append(a[0][0].detach())) for m in modules]
        with torch.no_grad():
            model(input_ids=torch.tensor([ids.tolist()]))
        for handle in handles:
            handle.remove()
        captured.append([one.double().square().sum(dim=0).sqrt() for one in states])
    expected = torch.stack([torch.stack(one) for one in captured]).mean(dim=0)
    table = features(tiny_run.store, job)
    found = torch.tensor(table["magnitude"], dtype=torch.float64).reshape(4, 16)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert table["depth"] == [depth for depth in range(4) for _ in range(16)]
    assert table["feature"] == list(range(16)) * 4


def test_the_largest_features_are_in_the_catalog_with_their_rank(tiny_run: FinishedRun) -> None:
    job = observe_jobs(tiny_run)[0]
    rows = [row for row in tiny_run.rows("feature_magnitudes") if row["statistics_id"] == job.identity.id]
    table = np.array(features(tiny_run.store, job)["magnitude"]).reshape(4, 16)
    for depth in range(4):
        of_depth = [row for row in rows if row["depth"] == depth]
        assert [row["rank"] for row in of_depth] == list(range(1, 17))
        assert [row["magnitude"] for row in of_depth] == sorted(table[depth], reverse=True)
        assert all(row["magnitude"] == table[depth][row["feature"]] for row in of_depth)


def test_the_row_counts_demonstrations_and_tokens(tiny_run: FinishedRun) -> None:
    job = observe_jobs(tiny_run)[0]
    (row,) = (one for one in tiny_run.rows("statistics") if one["statistics_id"] == job.identity.id)
    n_tokens = sum(len(ids) for ids in set_table(tiny_run, job)["token_ids"])
    assert (row["n_demonstrations"], row["n_tokens"], row["token_scope"]) == (4, n_tokens, "all")
    assert (row["propagation"], row["demonstration_set_id"]) == ("dense", job.demonstration_set_id)


def test_features_of_a_mixed_set_are_called_mixed(tiny_run: FinishedRun) -> None:
    kinds = [set(features(tiny_run.store, job)["kind"]) for job in observe_jobs(tiny_run)]
    assert kinds == [{"translation"}, {"translation"}, {"monolingual"}, {"code"}, {"mixed"}]


def test_earlier_masks_on_the_chain_and_shards_change_no_byte(small_run: FinishedRun, copied_store: Any) -> None:
    (job,) = observe_jobs(small_run)
    store = copied_store(small_run.store)
    chain = chain_with_masks(Path(small_run.plan.model.path), n_shards=3)
    job.run(store, lambda: chain)
    assert store.require(*job.identity.key) == small_run.store.require(*job.identity.key)


@pytest.mark.parametrize("n_shards", [1, 2])
def test_replicas_that_share_a_set_change_no_byte(small_run: FinishedRun, copied_store: Any, n_shards: int) -> None:
    (job,) = observe_jobs(small_run)
    assert job.shares_replicas
    store = copied_store(small_run.store)
    first, second = (local_chain(Path(small_run.plan.model.path), n_shards=n_shards) for _ in range(2))
    second.everywhere(Shard.set_keep_masks, {(0, "fc1"): torch.zeros(64, 16, dtype=torch.bool)})
    other = LocalReplica(second)
    job.run(store, lambda: shared(first, [other]))
    assert contents(store) == contents(small_run.store)
    assert other.n_tasks > 1


@pytest.fixture(scope="module")
def parts_run(tiny_inputs: Path) -> Iterator[FinishedRun]:
    """The small recipe's set, of five demonstrations, cut into parts of two at most."""
    recipe = small_recipe()
    recipe["demonstrations"][0]["samples"] = 5
    recipe["variants"], recipe["evaluations"] = recipe["variants"][:1], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passes, "PART_TOKENS", 2 * 48)
        yield finished_run(tiny_inputs, recipe, name="parts")


def test_a_large_set_is_observed_in_parts_and_collected_in_demonstration_order(parts_run: FinishedRun) -> None:
    parts, (collect,) = of_kind(parts_run, ObservePartJob), of_kind(parts_run, CollectPartsJob)
    assert [list(job.demonstrations) for job in parts] == [[0], [1, 2], [3, 4]]
    record = parts_run.store.require(*collect.identity.key)
    names = [one.path.rpartition("/")[2] for one in record.artefacts]
    expected = [f"block-00{block}.part-0000{first}.parquet" for first in (0, 1, 3) for block in range(3)]
    assert names == [*expected, f"{collect.identity.id}.parquet"]
    table = set_table(parts_run, collect)
    model = reference_model(parts_run.folder / "model")
    inputs = [layer_inputs(model, ids, layers=XGLM.input_names) for ids in table["token_ids"]]
    for block in range(3):
        for name, rows in read_block_statistics(parts_run.store, record.artefacts, block).items():
            reference = torch.stack([one[block, name].double().square().sum(dim=0) for one in inputs])
            torch.testing.assert_close(rows.double(), reference, rtol=1e-5, atol=1e-6)
    (row,) = record.rows["statistics"]
    assert (row["n_demonstrations"], row["n_tokens"]) == (5, sum(len(ids) for ids in table["token_ids"]))


def test_features_of_a_set_in_parts_are_means_over_the_whole_set(parts_run: FinishedRun, tmp_path: Path) -> None:
    (collect,) = of_kind(parts_run, CollectPartsJob)
    whole = ObserveJob(
        make_identity("statistics", {"whole": True}), collect.model, collect.demonstration_set_id, batch_tokens=128
    )
    store = store_with_sets(parts_run, collect.demonstration_set_id, folder=tmp_path)
    whole.run(store, lambda: chain_of(parts_run.plan))
    found, expected = features(parts_run.store, collect), features(store, whole)
    for name in ("kind", "depth", "feature"):
        assert found[name] == expected[name]
    assert found["magnitude"] == pytest.approx(expected["magnitude"], rel=1e-6)


def test_parts_are_the_same_bytes_in_any_order_on_any_chain(parts_run: FinishedRun, copied_store: Any) -> None:
    store = copied_store(parts_run.store)
    chains = [local_chain(Path(parts_run.plan.model.path), n_shards=n) for n in (3, 1, 2)]
    for job, chain in zip(reversed(of_kind(parts_run, ObservePartJob)), chains, strict=True):
        job.run(store, lambda chain=chain: chain)
    of_kind(parts_run, CollectPartsJob)[0].run(store, lambda: chains[0])
    assert contents(store) == contents(parts_run.store)


def test_parts_that_are_done_are_not_observed_again(parts_run: FinishedRun, copied_store: Any) -> None:
    store = copied_store(parts_run.store)
    part, (collect,) = of_kind(parts_run, ObservePartJob)[1], of_kind(parts_run, CollectPartsJob)
    for kind, one in (part.identity.key, collect.identity.key):
        store.delete(f"records/{kind}/{one}.json")
    pending = pending_jobs(parts_run.plan.jobs, store)
    assert [job for job in pending if job.step == "observe"] == [part, collect]
    run_plan(parts_run.plan, store)
    assert contents(store) == contents(parts_run.store)


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("harm", ["truncated", "corrupted", "removed"])
def test_only_a_damaged_part_is_observed_again(parts_run: FinishedRun, copied_store: Any, harm: str) -> None:
    store = copied_store(parts_run.store)
    part, (collect,) = of_kind(parts_run, ObservePartJob)[2], of_kind(parts_run, CollectPartsJob)
    artefact = store.require(*part.identity.key).artefacts[1]
    path = store.local_root / artefact.path
    data = path.read_bytes()
    path.unlink() if harm == "removed" else path.write_bytes(
        data[:-9] if harm == "truncated" else data[:40] + bytes([data[40] ^ 1]) + data[41:]
    )
    with pytest.raises(DamagedArtefactError):
        read_block_statistics(store, store.require(*collect.identity.key).artefacts, 1)
    if harm == "corrupted":  # of equal size: a reader notices, and a run then reads all it has
        for job in (part, collect):
            record = store.require(*job.identity.key)
            assert not store.is_intact(record)
            store.quarantine(record)
    pending = pending_jobs(parts_run.plan.jobs, store, repair=True)
    assert [job for job in pending if job.step == "observe"] == [part, collect]
    run_plan(parts_run.plan, store)
    assert contents(store) == contents(parts_run.store)


@pytest.mark.parametrize("scope", ["target", "source"])
def test_the_tokens_of_a_scope_are_counted_in_every_part(
    parts_run: FinishedRun, copied_store: Any, scope: TokenScope
) -> None:
    store = copied_store(parts_run.store)
    collect, parts = of_kind(parts_run, CollectPartsJob)[0], of_kind(parts_run, ObservePartJob)
    for job in parts:
        dataclasses.replace(job, token_scope=scope).run(store, lambda: chain_of(parts_run.plan))
    collect.run(store, lambda: chain_of(parts_run.plan))
    (row,) = store.require(*collect.identity.key).rows["statistics"]
    table = set_table(parts_run, collect)
    side = 2 if scope == "target" else 1
    assert row["n_tokens"] == sum(int((sides == side).sum()) for sides in table["sides"]) > 0


def test_a_set_without_counted_tokens_in_any_part_is_an_error(parts_run: FinishedRun, copied_store: Any) -> None:
    store = copied_store(parts_run.store)
    (collect,) = of_kind(parts_run, CollectPartsJob)
    columns = {"depth": [0], "n_demonstrations": [2], "n_tokens": [0], "magnitudes": [np.zeros(4)]}
    data, n_rows = encode_numeric(columns, SUMS_LAYOUT)
    empty = store.write_bytes("features/none.part-00000.parquet", data, n_rows=n_rows)
    for one in collect.parts:
        store.write_record(dataclasses.replace(store.require("statistics_parts", one), artefacts=(empty,)))
    with pytest.raises(CorpusError):
        collect.run(store, lambda: chain_of(parts_run.plan))


def test_a_damaged_file_of_sums_is_noticed(parts_run: FinishedRun, copied_store: Any) -> None:
    store = copied_store(parts_run.store)
    (collect,) = of_kind(parts_run, CollectPartsJob)
    sums = store.require("statistics_parts", collect.parts[0]).artefacts[-1]
    (store.local_root / sums.path).write_bytes(b"no sums")
    with pytest.raises(DamagedArtefactError):
        collect.run(store, lambda: chain_of(parts_run.plan))
