"""Rebuilding masks from the store."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlprune.capabilities.publishing.model_card import model_card
from mlprune.errors import BadInputError, DamagedArtefactError, StoreError
from mlprune.numeric.masks.packing import pack_levels, unpack_levels
from mlprune.pruning.mask_files import SCHEMA as MASK_SCHEMA
from mlprune.steps.observe.statistics_files import SCHEMA as STATISTICS_SCHEMA
from mlprune.steps.rescore.verify import RECHECKED_KINDS, Recheck, has_masks_to_rebuild, verify_variant
from mlprune.steps.variants.variant_rows import artefacts_below, require_masks
from mlprune.store.records import Artefact, Record
from mlprune.store.store import Store
from tests.chains import worker_threads
from tests.mlprune.capabilities.sensitivity.planted import planted_recipe
from tests.refusals import refused
from tests.tiny_models import save_tiny_model
from tests.tiny_recipes import (
    FinishedRun,
    copied_inputs,
    copy_of,
    finished_run,
    method_recipe,
    run_here,
    small_recipe,
    tiny_recipe,
    write_recipe,
)
from tests.uses import ANALYSES_OF_SETS

CopyOf = Callable[[Store], Store]

MASKED = [str(one["name"]) for one in method_recipe()["variants"] if one.get("score") != "sparsegpt"]


@pytest.mark.thorough("computes the records of runs again")
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
    with worker_threads(2):
        record = method_run.store.require("variants", variant.id)
        assert verify_variant(method_run.store, record, method_run.folder / "model").is_equal


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


@pytest.mark.thorough("computes the records of runs again")
@pytest.mark.parametrize("propagation", ["dense", "sequential"])
def test_other_statistics_give_another_fingerprint(
    method_run: FinishedRun, copied_store: CopyOf, propagation: str
) -> None:
    store = copied_store(method_run.store)
    (variant,) = method_run.named("ria", propagation)
    record = store.require("variants", variant.id)
    ordering = require_masks(store, record.id).record
    is_dense = propagation == "dense"
    altered_statistics(store, store.require("statistics", ordering.parents["statistics"][0]) if is_dense else ordering)
    result = verify_variant(store, record, method_run.folder / "model")
    assert not result.is_equal
    assert result.expected == record.rows["variants"][0]["mask_sha256"] != result.rebuilt


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
    with pytest.raises(DamagedArtefactError):
        verify_variant(store, record, method_run.folder / "model")


@pytest.mark.parametrize(("name", "got"), [("sparsegpt", "changed weights"), ("dense", "the dense model")])
def test_variants_that_are_not_only_masks_are_refused(method_run: FinishedRun, name: str, got: str) -> None:
    variant = method_run.labelled("dense") if name == "dense" else method_run.named(name)[0]
    record = method_run.store.require("variants", variant.id)
    with refused(BadInputError, got=got):
        verify_variant(method_run.store, record, method_run.folder / "model")


def test_a_folder_with_another_model_is_refused(method_run: FinishedRun, tmp_path: Path) -> None:
    other = save_tiny_model(tmp_path / "other", seed=1)
    (variant,) = method_run.named("ria", "dense")
    with refused(BadInputError, expected=method_run.plan.model.base_model_id):
        verify_variant(method_run.store, method_run.store.require("variants", variant.id), other)


def no_model(base_model_id: str) -> Path:
    raise StoreError("no model here", base_model_id=base_model_id)


def contradictions(store: Store, record: Record) -> list[str]:
    return Recheck(store, no_model).contradictions(record)


def evaluation_of(run: FinishedRun, task: str) -> Record:
    return next(record for record in run.store.records("evaluations") if record.parameters["task"] == task)


def with_metric(record: Record, **changed: Any) -> Record:
    first, *others = record.rows["metrics"]
    return replace(record, rows={**record.rows, "metrics": [{**first, **changed}, *others]})


@pytest.fixture(scope="module")
def analysed_run(tiny_inputs: Path) -> FinishedRun:
    """A sensitivity analysis, choices, layer errors, and removed weights of neurons."""
    entry = {**small_recipe()["variants"][0], "name": "pruned", "sparsity": 0.5, "propagation": "dense"}
    schedules = [{**entry, "name": kind, "schedule": {"kind": kind}} for kind in ("owl", "dlp", "alpha_pruning")]
    recipe = {
        **planted_recipe(),
        "variants": [entry, *schedules],
        "evaluations": [
            *planted_recipe()["evaluations"],
            {"task": "perplexity", "path": "corpus", "languages": ["en", "fr"], "limit": 6, "split": "dev"},
        ],
        "analyses": {"layer_errors": {"demonstrations": ["mt"]}, "neuron_variants": ["pruned"], **ANALYSES_OF_SETS},
    }
    return finished_run(tiny_inputs, recipe, name="analysed")


@pytest.fixture(scope="module", params=["tiny_run", "baseline_run", "analysed_run"])
def run(request: pytest.FixtureRequest) -> FinishedRun:
    return request.getfixturevalue(request.param)


def recheck_of(run: FinishedRun, store: Store) -> Recheck:
    return Recheck(store, lambda _: run.folder / "model")


@pytest.mark.thorough("computes the records of runs again")
def test_everything_that_runs_wrote_follows_from_its_inputs(run: FinishedRun) -> None:
    """Of the many comparisons, every third one."""
    recheck = recheck_of(run, run.store)
    comparisons = list(run.store.records("comparisons"))
    others = [record for record in run.store.records() if record.kind != "comparisons"]
    checked = [*comparisons[::3], *others]
    assert {record.path: found for record in checked if (found := recheck.contradictions(record))} == {}


def change_a_number(rows: Any) -> bool:
    """Change one number of a result that no reader would doubt; return whether there was one."""
    for name, value in sorted(rows.items()):
        if type(value) is float and not name.startswith("p_"):
            rows[name] = 0.9 if value != 0.9 else 0.8
            return True
        if type(value) is int and name in ("n_removed", "n_before", "n_distinct", "block", "first_block"):
            rows[name] = value + 1
            return True
    return False


def forged(record: Record) -> Record | None:
    """Return a record with another value in one of its rows; None if it has no number."""
    fields = json.loads(record.to_json())
    for table in ["variant_layers"] if record.kind == "variants" else sorted(fields["rows"]):
        if any(change_a_number(row) for row in fields["rows"].get(table, ())):
            return replace(record, rows=fields["rows"])
    return None


def test_one_changed_value_is_found_in_every_kind_that_is_computed_again(
    tiny_run: FinishedRun, baseline_run: FinishedRun, analysed_run: FinishedRun
) -> None:
    """Overlaps of experts are tested where a model has experts."""
    found: dict[str, bool] = {"expert_overlaps": True}
    for one in (tiny_run, baseline_run, analysed_run):
        recheck = recheck_of(one, one.store)
        for kind in RECHECKED_KINDS:
            changed = next((wrong for record in one.store.records(kind) if (wrong := forged(record))), None)
            if changed is not None:
                found[kind] = found.get(kind, True) and bool(recheck.contradictions(changed))
    assert found == dict.fromkeys(RECHECKED_KINDS, True)


def test_wrong_contributions_are_found(tiny_run: FinishedRun, tmp_path: Path) -> None:
    store = copy_of(tiny_run.store, tmp_path / "store")
    first, second = list(store.records("comparisons"))[:2]
    artefact = replace(first.artefacts[0], sha256=second.artefacts[0].sha256, n_bytes=second.artefacts[0].n_bytes)
    store.write(artefact.path, store.read_bytes(second.artefacts[0]))
    (problem,) = contradictions(store, replace(first, artefacts=(artefact,)))
    assert artefact.path in problem


def test_a_result_without_its_inputs_or_the_model_cannot_be_computed_again(
    tiny_run: FinishedRun, analysed_run: FinishedRun, tmp_path: Path
) -> None:
    store = copy_of(tiny_run.store, tmp_path / "store")
    record = next(store.records("comparisons"))
    (tmp_path / "store" / "records" / "evaluations" / f"{record.parents['evaluations'][0]}.json").unlink()
    with pytest.raises(StoreError):
        contradictions(store, record)
    with pytest.raises(StoreError):
        contradictions(analysed_run.store, next(analysed_run.store.records("layer_errors")))


def test_nothing_is_written_to_the_store(tiny_run: FinishedRun, tmp_path: Path) -> None:
    store = copy_of(tiny_run.store, tmp_path / "store")
    paths = store.list("")
    for kind in ("comparisons", "answers"):
        contradictions(store, next(store.records(kind)))
    assert store.list("") == paths


@pytest.mark.parametrize("task", ["facts", "perplexity", "translation"])
def test_metrics_follow_from_predictions_and_changed_ones_do_not(tiny_run: FinishedRun, task: str) -> None:
    record = evaluation_of(tiny_run, task)
    value = record.rows["metrics"][0]["value"]
    assert contradictions(tiny_run.store, record) == []
    assert contradictions(tiny_run.store, with_metric(record, value=value * (1 + 1e-12))) == []
    (problem,) = contradictions(tiny_run.store, with_metric(record, value=value + 0.5))
    assert str(value) in problem
    assert contradictions(tiny_run.store, with_metric(record, n=1))


def test_what_cannot_be_looked_up_in_an_inputs_names_is_a_contradiction(tiny_run: FinishedRun) -> None:
    record = evaluation_of(tiny_run, "translation")
    (problem,) = contradictions(tiny_run.store, replace(record, parameters={**record.parameters, "language": "x"}))
    assert "StopIteration" in problem


def test_numbers_of_another_processor_are_no_contradiction(tiny_run: FinishedRun) -> None:
    record = next(tiny_run.store.records("comparisons"))
    rows = [
        {name: value * (1 + 1e-12) if type(value) is float else value for name, value in row.items()}
        for row in record.rows["comparison_results"]
    ]
    assert contradictions(tiny_run.store, replace(record, rows={**record.rows, "comparison_results": rows})) == []


def test_many_differences_of_a_record_are_counted(tiny_run: FinishedRun) -> None:
    record = next(tiny_run.store.records("mask_overlaps"))
    rows = {"mask_overlaps": [{**row, "jaccard": 0.9} for row in record.rows["mask_overlaps"]]}
    problems = contradictions(tiny_run.store, replace(record, rows=rows))
    assert len(problems) == 4
    assert str(len(rows["mask_overlaps"]) - 3) in problems[-1]


def test_rows_that_are_missing_or_too_many_are_named(tiny_run: FinishedRun) -> None:
    record = evaluation_of(tiny_run, "facts")
    none = replace(record, rows={"evaluations": record.rows["evaluations"]})
    (problem,) = contradictions(tiny_run.store, none)
    assert "but it has 0" in problem


def test_values_of_another_version_of_sacrebleu_are_not_compared(tiny_run: FinishedRun) -> None:
    record = with_metric(evaluation_of(tiny_run, "translation"), signature="version:1", value=99.0)
    assert contradictions(tiny_run.store, record) == []


def test_damaged_predictions_are_an_error(tiny_run: FinishedRun, tmp_path: Any) -> None:
    store = copy_of(tiny_run.store, tmp_path / "store")
    record = evaluation_of(tiny_run, "facts")
    store.write_bytes(record.artefacts[0].path, b"no Parquet")
    with pytest.raises(DamagedArtefactError):
        contradictions(store, record)


def test_only_masks_that_follow_from_statistics_are_rebuilt(tiny_run: FinishedRun) -> None:
    variants = list(tiny_run.store.records("variants"))
    masked = [record for record in variants if record.rows["variants"][0]["mask_sha256"] is not None]
    assert [record for record in variants if has_masks_to_rebuild(record)] == masked
    assert 0 < len(masked) < len(variants)
    assert not any(has_masks_to_rebuild(record) for record in tiny_run.store.records("masks"))
