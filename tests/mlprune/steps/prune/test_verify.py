"""Rebuilding masks from the store."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mlprune.errors import BadInputError, DamagedArtefactError
from mlprune.numeric.masks.packing import pack_levels, unpack_levels
from mlprune.processes.parallel import set_worker_threads
from mlprune.pruning.mask_files import SCHEMA as MASK_SCHEMA
from mlprune.steps.export.model_card import model_card
from mlprune.steps.observe.statistics_files import SCHEMA as STATISTICS_SCHEMA
from mlprune.steps.prune.stored_masks import artefacts_below, require_masks
from mlprune.steps.prune.verify import verify_variant
from mlprune.store.records import Artefact, Record
from mlprune.store.store import Store
from tests.tiny_models import save_tiny_model
from tests.tiny_recipes import FinishedRun, copied_inputs, method_recipe, run_here, tiny_recipe, write_recipe

CopyOf = Callable[[Store], Store]

MASKED = [str(one["name"]) for one in method_recipe()["variants"] if one.get("score") != "sparsegpt"]


@pytest.mark.parametrize("name", MASKED)
def test_a_variant_is_rebuilt_bit_for_bit(method_run: FinishedRun, name: str) -> None:
    for variant in method_run.named(name):
        record = method_run.store.require("variants", variant.id)
        result = verify_variant(method_run.store, record, method_run.folder / "model")
        assert result.is_equal
        assert result.expected == result.rebuilt == record.rows["variants"][0]["mask_sha256"]
        assert result.variant_id == variant.id


@pytest.mark.parametrize("label", ["magnitude 0.5 row", "random 0.5 row seed 1"])
def test_a_variant_without_statistics_is_rebuilt_from_the_weights(tiny_run: FinishedRun, label: str) -> None:
    record = tiny_run.store.require("variants", tiny_run.labelled(label).id)
    assert verify_variant(tiny_run.store, record, tiny_run.folder / "model").is_equal


def test_a_mask_of_permuted_inputs_is_rebuilt_and_is_n_of_m_in_the_permuted_order_only(
    tiny_inputs: Path, tmp_path: Path
) -> None:
    entry = {"name": "permuted", "score": "magnitude", "structure": "2:4", "permute": True}
    recipe = {key: value for key, value in tiny_recipe().items() if key in ("name", "model", "corpus")}
    path = write_recipe(copied_inputs(tiny_inputs, tmp_path), {**recipe, "variants": [entry]})
    run = FinishedRun(path, run_here(path, store := Store(tmp_path / "store")), store)
    (variant,) = run.named("permuted")
    record = store.require("variants", variant.id)
    assert verify_variant(store, record, tiny_inputs / "model").is_equal
    row = record.rows["variants"][0]
    assert (row["structure"], row["achieved_sparsity"], row["score_parameters"]) == ("2:4", 0.5, {"permute": True})
    mask = run.keep_masks(variant.id)[0, "fc1"]
    assert not (mask.reshape(-1, 4).sum(dim=1) == 2).all()
    text = model_card(store, record)
    assert "2:4 only after a permutation" in text
    assert "Plug-and-Play" in text


def test_threads_change_no_fingerprint(method_run: FinishedRun) -> None:
    (variant,) = method_run.named("owl", "dense")
    set_worker_threads(2)
    try:
        record = method_run.store.require("variants", variant.id)
        assert verify_variant(method_run.store, record, method_run.folder / "model").is_equal
    finally:
        set_worker_threads(1)


def with_other_artefact(store: Store, record: Record, old: Artefact, new: Artefact) -> Record:
    """The record with one artefact replaced by another file."""
    changed = replace(record, artefacts=tuple(new if one == old else one for one in record.artefacts))
    store.write_record(changed)
    return changed


def altered_statistics(store: Store, record: Record) -> Record:
    """A record with other statistics of the last block, in the file and in the record."""
    old = next(one for one in artefacts_below(record, "statistics/") if "block-002" in one.path)
    columns = store.read_table(old)
    columns["sum_sq"] = [values[::-1].copy() for values in columns["sum_sq"]]
    return with_other_artefact(store, record, old, store.write_table(old.path, columns, STATISTICS_SCHEMA))


def test_other_statistics_give_another_fingerprint_in_dense_propagation(
    method_run: FinishedRun, copied_store: CopyOf
) -> None:
    store = copied_store(method_run.store)
    (variant,) = method_run.named("ria", "dense")
    record = store.require("variants", variant.id)
    ordering = require_masks(store, record.id).record
    altered_statistics(store, store.require("statistics", ordering.parents["statistics"][0]))
    result = verify_variant(store, record, method_run.folder / "model")
    assert not result.is_equal
    assert result.expected == record.rows["variants"][0]["mask_sha256"] != result.rebuilt


def test_other_statistics_give_another_fingerprint_in_sequential_propagation(
    method_run: FinishedRun, copied_store: CopyOf
) -> None:
    store = copied_store(method_run.store)
    (variant,) = method_run.named("ria", "sequential")
    altered_statistics(store, require_masks(store, variant.id).record)
    assert not verify_variant(store, store.require("variants", variant.id), method_run.folder / "model").is_equal


def test_another_mask_of_a_parent_gives_a_combination_another_fingerprint(
    method_run: FinishedRun, copied_store: CopyOf
) -> None:
    store = copied_store(method_run.store)
    variant = method_run.named("union", "dense")[0]
    stored = require_masks(store, variant.spec.parent_ids[0])
    old = stored.masks[1]
    columns = store.read_table(old)
    levels = unpack_levels(columns["levels"][0], tuple(columns["shape"][0].tolist()), 1)
    columns["levels"][0] = pack_levels(1 - levels, 1)
    with_other_artefact(store, stored.record, old, store.write_table(old.path, columns, MASK_SCHEMA))
    assert not verify_variant(store, store.require("variants", variant.id), method_run.folder / "model").is_equal


def test_a_damaged_statistics_file_is_an_error(method_run: FinishedRun, copied_store: CopyOf) -> None:
    store = copied_store(method_run.store)
    (variant,) = method_run.named("ria", "sequential")
    record = store.require("variants", variant.id)
    assert store.local_root is not None
    artefact = artefacts_below(require_masks(store, record.id).record, "statistics/")[0]
    path = artefact.path
    data = bytearray((store.local_root / path).read_bytes())
    data[len(data) // 2] ^= 1
    (store.local_root / path).write_bytes(bytes(data))
    assert hashlib.sha256(bytes(data)).hexdigest() != artefact.sha256
    with pytest.raises(DamagedArtefactError, match="damaged"):
        verify_variant(store, record, method_run.folder / "model")


@pytest.mark.parametrize(("name", "got"), [("sparsegpt", "changed weights"), ("dense", "the dense model")])
def test_variants_that_are_not_only_masks_are_refused(method_run: FinishedRun, name: str, got: str) -> None:
    variant = method_run.labelled("dense") if name == "dense" else method_run.named(name)[0]
    record = method_run.store.require("variants", variant.id)
    with pytest.raises(BadInputError, match="only masks can be rebuilt") as caught:
        verify_variant(method_run.store, record, method_run.folder / "model")
    assert caught.value.context["got"] == got


def test_a_folder_with_another_model_is_refused(method_run: FinishedRun, tmp_path: Path) -> None:
    other = save_tiny_model(tmp_path / "other", seed=1)
    (variant,) = method_run.named("ria", "dense")
    with pytest.raises(BadInputError, match="another model") as caught:
        verify_variant(method_run.store, method_run.store.require("variants", variant.id), other)
    assert caught.value.context["expected"] == method_run.plan.model.base_model_id
