"""What observation leaves behind, against transformers running one demonstration at a time."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mlprune.models.chain import local_chain
from mlprune.models.families import FAMILIES
from mlprune.steps import observe
from mlprune.steps.observe import ObserveJob
from mlprune.steps.statistics_files import read_block_statistics
from mlprune.storage import Store
from mlprune.terms import TokenScope
from mlprune.threads import use_threads
from tests.method_reference import counted, demonstrations, squares
from tests.tiny_recipes import FinishedRun, chain_of, contents, layer_inputs, reference_model

XGLM = FAMILIES["xglm"]


def observe_jobs(run: FinishedRun) -> list[ObserveJob]:
    return [job for job in run.plan.jobs if isinstance(job, ObserveJob)]


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
    expected = [
        {
            key: one.double().square().sum(dim=0)
            for key, one in layer_inputs(model, ids, layers=XGLM.input_names).items()
        }
        for ids in set_table(tiny_run, job)["token_ids"]
    ]
    for block in range(3):
        found = read_block_statistics(tiny_run.store, record.artefacts, block)
        assert tuple(found) == XGLM.input_names
        for name, rows in found.items():
            reference = torch.stack([one[block, name] for one in expected])
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


def test_threads_change_no_byte(method_run: FinishedRun, copied_store: Any) -> None:
    store = copied_store(method_run.store)
    use_threads(2)
    try:
        for job in observe_jobs(method_run):
            job.run(store, functools.cache(lambda: chain_of(method_run.plan)))
    finally:
        use_threads(1)
    assert contents(store) == contents(method_run.store)


def test_features_are_the_mean_magnitudes_behind_every_block(tiny_run: FinishedRun) -> None:
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
    assert table["block"] == [block for block in range(4) for _ in range(16)]
    assert table["feature"] == list(range(16)) * 4


def test_the_largest_features_are_in_the_catalog_with_their_rank(tiny_run: FinishedRun) -> None:
    job = observe_jobs(tiny_run)[0]
    rows = [row for row in tiny_run.rows("feature_magnitudes") if row["statistics_id"] == job.identity.id]
    table = np.array(features(tiny_run.store, job)["magnitude"]).reshape(4, 16)
    for block in range(4):
        of_block = [row for row in rows if row["block"] == block]
        assert [row["rank"] for row in of_block] == list(range(1, 17))
        assert [row["magnitude"] for row in of_block] == sorted(table[block], reverse=True)
        assert all(row["magnitude"] == table[block][row["feature"]] for row in of_block)


def test_the_row_counts_demonstrations_and_tokens(tiny_run: FinishedRun) -> None:
    job = observe_jobs(tiny_run)[0]
    (row,) = (one for one in tiny_run.rows("statistics") if one["statistics_id"] == job.identity.id)
    assert row["n_demonstrations"] == 4
    assert row["n_tokens"] == sum(len(ids) for ids in set_table(tiny_run, job)["token_ids"])
    assert (row["propagation"], row["demonstration_set_id"]) == ("dense", job.demonstration_set_id)
    assert row["token_scope"] == "all"


def test_features_of_a_mixed_set_are_called_mixed(tiny_run: FinishedRun) -> None:
    kinds = [set(features(tiny_run.store, job)["kind"]) for job in observe_jobs(tiny_run)]
    assert kinds == [{"translation"}, {"translation"}, {"monolingual"}, {"code"}, {"mixed"}]


def test_small_parts_hold_the_same_statistics(
    small_run: FinishedRun, copied_store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = observe_jobs(small_run)
    store = copied_store(small_run.store)
    monkeypatch.setattr(observe, "PART_BYTES", 1)
    job.run(store, functools.cache(lambda: chain_of(small_run.plan)))
    before, after = (one.require(*job.identity.key) for one in (small_run.store, store))
    assert len(after.artefacts) > len(before.artefacts)
    for block in range(3):
        whole = read_block_statistics(small_run.store, before.artefacts, block)
        parts = read_block_statistics(store, after.artefacts, block)
        assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_masks_left_on_the_chain_and_shards_change_no_byte(small_run: FinishedRun, copied_store: Any) -> None:
    (job,) = observe_jobs(small_run)
    store = copied_store(small_run.store)
    chain = local_chain(Path(small_run.plan.model.path), n_shards=3)
    chain.everywhere("set_keep_masks", {(1, "fc1"): torch.zeros(64, 16, dtype=torch.bool)})
    job.run(store, lambda: chain)
    assert store.require(*job.identity.key) == small_run.store.require(*job.identity.key)
