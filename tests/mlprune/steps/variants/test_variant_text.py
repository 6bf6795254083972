"""Descriptions of variants, made from catalog rows."""

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from mlprune.errors import StoreError
from mlprune.steps.variants.variant import COLUMNS
from mlprune.steps.variants.variant_text import (
    block_ranges,
    find_variant,
    find_variants,
    settings_words,
    value_words,
    variant_label,
)
from tests.records import made_up_record
from tests.tiny_recipes import FinishedRun, copy_of

DEFAULTS: dict[str, Any] = {**dict.fromkeys(COLUMNS), "sparsity": 0.5}


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({}, []),
        ({"seed": 0, "removes": "lowest", "schedule": "uniform", "profile": "corrected", "token_scope": "all"}, []),
        ({"seed": 3}, ["seed 3"]),
        ({"score_parameters": {"power": 0.7}}, ["power 0.7"]),
        ({"score_parameters": {"power": 0.7, "permute": True}}, ["power 0.7", "permute"]),
        ({"schedule": "owl", "schedule_parameters": {"m": 4.0}}, ["schedule owl", "m 4"]),
        ({"schedule_parameters": {"layers": [["fc1", 0.25], ["fc2", 0.5]]}}, ["layers fc1 at 0.25 fc2 at 0.5"]),
        ({"aggregation_parameters": {"variance_weight": 2.0}}, ["variance weight 2"]),
        ({"intervention_parameters": {"layers": [[0, 2]], "limit": 4}}, ["layers 0-2", "limit 4"]),
        ({"scope": {"blocks": [0, 1, 2, 5], "layers": ["fc1"]}}, ["blocks 0-2 5", "layers fc1"]),
        ({"removes": "highest", "profile": "paper"}, ["removing the highest", "profile paper"]),
        ({"token_scope": "target", "n_demonstrations": 2}, ["target tokens", "2 samples"]),
    ],
)
def test_settings_that_are_not_defaults_have_phrases(columns: dict[str, Any], words: list[str]) -> None:
    assert list(settings_words(DEFAULTS | columns)) == words


def test_a_long_list_is_shortened_in_labels_and_other_lists_have_other_labels() -> None:
    lists = [[[n, 0.25] for n in range(24)], [[n, 0.5] for n in range(24)]]
    words = [list(settings_words(DEFAULTS | {"schedule_parameters": {"blocks": values}})) for values in lists]
    assert words[0] != words[1]
    assert all(one.startswith("blocks for 24 #") and len(one) == 23 for (one,) in words)


def test_a_label_has_score_sets_sparsity_structure_and_propagation() -> None:
    settings = {"score": "contrast", "structure": "row", "propagation": "dense"}
    row = DEFAULTS | settings | {"score_parameters": {"power": 1.5}}
    label = variant_label(row, sets=["fr-en"], contrast="code")
    assert label == "contrast fr-en against code 0.5 row dense power 1.5"
    assert variant_label(DEFAULTS) == "dense"
    assert variant_label(DEFAULTS | {"intervention": "self_translate"}) == "self-translate"


def test_objects_are_shown_as_phrases_and_other_values_as_they_are() -> None:
    assert value_words({"m": 4.0, "spread": 0.1}) == "m 4, spread 0.1"
    assert value_words("owl") == "owl"
    assert value_words({"blocks": [[n, 0.25] for n in range(24)]}).count("at 0.25") == 24


def test_runs_of_blocks_are_ranges() -> None:
    assert block_ranges([4]) == ["4"]
    assert block_ranges([0, 2, 3]) == ["0", "2-3"]


def dense_id(run: FinishedRun) -> str:
    return next(variant.id for variant in run.plan.variants.values() if variant.is_dense)


def test_variants_are_found_by_id_name_and_name_in_a_recipe(method_run: FinishedRun) -> None:
    ids = [variant.id for variant in method_run.named("nested")]
    assert sorted(find_variants(method_run.store, ["nested"])) == sorted(ids)
    assert find_variants(method_run.store, [ids[1], "methods/nested", ids[1]])[0] == ids[1]
    assert len(find_variants(method_run.store, [ids[1], "methods/nested"])) == len(ids)
    assert find_variants(method_run.store, ["dense"]) == [dense_id(method_run)]


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


def test_a_unique_beginning_of_an_id_or_name_stands_for_it(method_run: FinishedRun) -> None:
    store, known = method_run.store, dense_id(method_run)
    assert find_variants(store, [known[:8], "dense"]) == [known]
    assert find_variant(store, known) == find_variant(store, "dense") == find_variant(store, "dens") == known
    nested = find_variants(store, ["nested"])
    assert find_variants(store, ["neste"]) == find_variants(store, ["methods/neste"]) == nested


def test_an_unknown_variant_is_reported_with_similar_names_and_the_nearest_id(method_run: FinishedRun) -> None:
    known = dense_id(method_run)
    for unknown, words in (("nestet", "'nested'"), (f"{known[:12]}z", f"nearest='{known}"), (known[:3], ""), ("", "")):
        with pytest.raises(StoreError) as caught:
            find_variants(method_run.store, [unknown])
        assert words in str(caught.value)
    with pytest.raises(StoreError) as several:
        find_variant(method_run.store, "nested")
    assert all(variant.id in str(several.value) for variant in method_run.named("nested"))


def test_a_beginning_of_several_ids_lists_them(method_run: FinishedRun, tmp_path: Path) -> None:
    store = copy_of(method_run.store, tmp_path / "store")
    known = dense_id(method_run)
    twin = known[:8] + ("0" if known[8] != "0" else "1") * (len(known) - 8)
    names = patch.object(store, "record_names", lambda kind: [(kind, known), (kind, twin)])
    with names, pytest.raises(StoreError) as caught:
        find_variant(store, known[:6])
    assert known in str(caught.value)
    assert twin in str(caught.value)


def test_a_beginning_of_several_names_lists_them(method_run: FinishedRun, tmp_path: Path) -> None:
    store = copy_of(method_run.store, tmp_path / "store")
    record = next(iter(store.records("recipes")))
    rows = [{**row, "recipe": "other", "name": "nestling"} for row in record.rows["names"] if row["name"] == "nested"]
    store.write_record(made_up_record(record.kind, {"recipe": "other"}, rows={"names": rows}))
    with pytest.raises(StoreError, match=r"begin with this.*one of nested, nestling"):
        find_variants(store, ["nest"])
