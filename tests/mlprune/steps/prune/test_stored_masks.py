"""Masks of variants in the store, and the orderings that contain them."""

from pathlib import Path

import pytest

from mlprune.errors import DamagedArtefactError, StoreError
from mlprune.plan import build_plan
from mlprune.recipe import parse_recipe
from mlprune.steps.prune.stored_masks import artefacts_below, require_masks
from mlprune.steps.prune.variant import DenseVariant
from mlprune.store.store import Store
from tests.tiny_recipes import FinishedRun, method_recipe, run_plan


def test_variants_of_one_ordering_share_its_files_and_are_nested(method_run: FinishedRun) -> None:
    variants = method_run.named("nested")
    stored = [require_masks(method_run.store, one.id) for one in variants]
    assert len({one.masks for one in stored}) == 1
    assert [one.levels for one in stored] == [(level,) * 3 for level in range(3)]
    masks = [method_run.keep_masks(one.id) for one in variants]
    for key in masks[0]:
        assert not (masks[1][key] & ~masks[0][key]).any()
        assert not (masks[2][key] & ~masks[1][key]).any()
        assert [float((~one[key]).double().mean()) for one in masks] == [0.25, 0.5, 0.75]


def test_artefacts_are_in_the_order_of_blocks(method_run: FinishedRun) -> None:
    (variant,) = method_run.named("sparsegpt")
    stored = require_masks(method_run.store, variant.id)
    assert [one.path for one in stored.masks] == [
        f"masks/{stored.record.id}/block-{block:03d}.parquet" for block in range(3)
    ]
    assert [one.path for one in stored.weights] == [
        f"weights/{variant.id}/block-{block:03d}.safetensors" for block in range(3)
    ]
    assert len(artefacts_below(stored.record, "statistics/")) == 3
    assert len(stored.record.artefacts) == 9


def test_an_ordering_has_its_number_of_levels_and_bytes(method_run: FinishedRun) -> None:
    orderings = {row["ordering_id"]: row for row in method_run.rows("orderings")}
    for variant in method_run.plan.variants.values():
        if not isinstance(variant.spec, DenseVariant):
            stored = require_masks(method_run.store, variant.id)
            row = orderings[stored.record.id]
            assert row["n_bytes"] == sum(one.n_bytes for one in stored.masks)
            in_nested = variant.id in {one.id for one in method_run.named("nested")}
            assert row["n_levels"] == (3 if in_nested else 1)


def test_the_order_of_two_recipes_changes_no_record(method_run: FinishedRun, tmp_path: Path) -> None:
    entry = {"name": "magnitude", "score": "magnitude"}
    plans = [
        build_plan(
            parse_recipe(
                {**method_recipe(), "variants": [{**entry, "sparsity": sparsity}], "evaluations": []},
                folder=method_run.folder,
            )
        )
        for sparsity in ([0.3, 0.5], [0.3])
    ]
    stores = []
    for number, order in enumerate((plans, plans[::-1])):
        store = Store(tmp_path / str(number))
        for plan in order:
            run_plan(plan, store)
        stores.append({record.id: record.to_json() for record in store.records()})
    assert stores[0] == stores[1]


def test_a_variant_without_masks_or_without_an_ordering_is_an_error(method_run: FinishedRun, tmp_path: Path) -> None:
    dense = next(iter(method_run.plan.variants.values()))
    with pytest.raises(StoreError):
        require_masks(method_run.store, dense.id)
    (variant,) = method_run.named("sparsegpt")
    store = Store(tmp_path / "store")
    store.write_record(method_run.store.require("variants", variant.id))
    with pytest.raises(DamagedArtefactError):
        require_masks(store, variant.id)
    store.write_record(require_masks(method_run.store, variant.id).record)
    assert require_masks(store, variant.id).levels == (0, 0, 0)
