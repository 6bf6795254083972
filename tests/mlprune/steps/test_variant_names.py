"""Variants that are found by id or by name."""

from pathlib import Path
from unittest.mock import patch

import pytest

from mlprune.errors import StoreError
from mlprune.steps.variant_names import find_variant, find_variants
from tests.records import made_up_record
from tests.tiny_recipes import FinishedRun, copy_of


def dense_id(run: FinishedRun) -> str:
    return next(variant.id for variant in run.plan.variants.values() if variant.is_dense)


def test_variants_are_found_by_id_name_and_name_in_a_recipe(method_run: FinishedRun) -> None:
    ids = [variant.id for variant in method_run.named("nested")]
    assert sorted(find_variants(method_run.store, ["nested"])) == sorted(ids)
    assert find_variants(method_run.store, [ids[1], "methods/nested", ids[1]])[0] == ids[1]
    assert len(find_variants(method_run.store, [ids[1], "methods/nested"])) == len(ids)
    assert find_variants(method_run.store, ["dense"]) == [dense_id(method_run)]


def test_the_error_for_an_unknown_variant_suggests_similar_names(method_run: FinishedRun) -> None:
    with pytest.raises(StoreError, match="'nested'"):
        find_variants(method_run.store, ["nestet"])


def test_a_name_of_different_variants_needs_its_recipe(method_run: FinishedRun, tmp_path: Path) -> None:
    store = copy_of(method_run.store, tmp_path / "store")
    record = next(iter(store.records("recipes")))
    rows = [{**row, "recipe": "other"} for row in record.rows["names"]]
    other = next(row for row in rows if row["name"] == "paper")
    other["id"] = method_run.named("nested")[0].id
    store.write_record(made_up_record(record.kind, {"recipe": "other"}, rows={"names": rows}))
    with pytest.raises(StoreError, match="methods/paper"):
        find_variants(store, ["paper"])
    assert find_variants(store, ["other/paper"])[0] == other["id"]
    assert find_variants(store, ["dense"]) == [dense_id(method_run)]


def test_an_unknown_id_is_reported_with_the_nearest_id(method_run: FinishedRun) -> None:
    known = dense_id(method_run)
    with pytest.raises(StoreError) as caught:
        find_variants(method_run.store, [f"{known[:12]}z"])
    assert str(caught.value.context["nearest"]).startswith(known)


def test_a_unique_beginning_of_an_id_stands_for_the_id(method_run: FinishedRun) -> None:
    known = dense_id(method_run)
    assert find_variants(method_run.store, [known[:8], "dense"]) == [known]
    with pytest.raises(StoreError, match="unknown variant"):
        find_variants(method_run.store, [known[:3]])


def test_a_beginning_of_several_ids_lists_them(method_run: FinishedRun, tmp_path: Path) -> None:
    store = copy_of(method_run.store, tmp_path / "store")
    known = dense_id(method_run)
    twin = known[:8] + ("0" if known[8] != "0" else "1") * (len(known) - 8)
    names = patch.object(store, "record_names", lambda kind: [(kind, known), (kind, twin)])
    with names, pytest.raises(StoreError, match="several variant ids") as caught:
        find_variant(store, known[:6])
    assert known in str(caught.value)
    assert twin in str(caught.value)


def test_one_variant_is_found_by_id_and_by_name_unless_several_have_the_name(method_run: FinishedRun) -> None:
    known = dense_id(method_run)
    assert find_variant(method_run.store, known) == find_variant(method_run.store, "dense") == known
    with pytest.raises(StoreError, match="several variants") as caught:
        find_variant(method_run.store, "nested")
    assert all(variant.id in str(caught.value) for variant in method_run.named("nested"))


def test_a_unique_beginning_of_a_name_stands_for_the_name(method_run: FinishedRun) -> None:
    expected = find_variants(method_run.store, ["nested"])
    assert find_variants(method_run.store, ["neste"]) == find_variants(method_run.store, ["methods/neste"]) == expected
    assert find_variant(method_run.store, "dens") == dense_id(method_run)
    with pytest.raises(StoreError, match="unknown variant"):
        find_variants(method_run.store, [""])


def test_a_beginning_of_several_names_lists_them(method_run: FinishedRun, tmp_path: Path) -> None:
    store = copy_of(method_run.store, tmp_path / "store")
    record = next(iter(store.records("recipes")))
    rows = [{**row, "recipe": "other", "name": "nestling"} for row in record.rows["names"] if row["name"] == "nested"]
    store.write_record(made_up_record(record.kind, {"recipe": "other"}, rows={"names": rows}))
    with pytest.raises(StoreError, match=r"begin with this.*one of nested, nestling"):
        find_variants(store, ["nest"])
