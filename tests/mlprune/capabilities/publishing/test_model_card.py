"""Lineage of records: all that they were made from, each once."""

import dataclasses

import pytest
import yaml

from mlprune.capabilities.publishing.export import export_variant
from mlprune.capabilities.publishing.model_card import (
    cell,
    lineage_table,
    model_card,
    rows_table,
    section,
    table,
    with_ancestors,
)
from mlprune.errors import DamagedArtefactError, StoreError
from mlprune.steps.variants.scored_variant import ScoredVariant
from mlprune.steps.variants.variant_rows import require_masks, variant_record
from mlprune.store.store import Store
from tests.tiny_models import ARCHITECTURES
from tests.tiny_recipes import (
    FinishedRun,
    copy_of,
    finished_run,
    method_recipe,
    run_here,
    tiny_recipe,
    write_inputs,
    write_recipe,
)


def test_a_table_has_a_line_for_each_row_below_its_heading():
    assert table(("a", "b"), [[1, "x"], [None, 0.5]]) == "| a | b |\n| --- | --- |\n| 1 | x |\n|  | 0.5 |"


def test_a_table_of_rows_shows_some_columns_and_nothing_where_a_row_lacks_one():
    rows = [{"set_id": "s", "other": 1}, {"n_tokens": 3}]
    assert rows_table(("set_id", "n_tokens"), rows).splitlines()[0] == "| set id | n tokens |"
    assert rows_table(("set_id", "n_tokens"), rows).splitlines()[2:] == ["| s |  |", "|  | 3 |"]
    assert rows_table(("set_id",), []) == ""


def test_no_text_ends_its_cell_or_line():
    assert cell("a|b\nc  d") == r"a\|b c d"
    assert cell(1 / 3) == "0.333333"


def test_a_section_without_a_body_is_left_out():
    assert section("Title", "text\n\n") == ("## Title\n", "text\n")
    assert section("Title", "") == ()


def test_a_variant_is_followed_by_all_it_was_made_from_each_once(tiny_run: FinishedRun) -> None:
    variant = next(record for record in tiny_run.store.records("variants") if record.rows["variants"][0]["score"])
    lineage = with_ancestors(tiny_run.store, [variant, variant])
    ids = [record.id for record in lineage]
    assert ids[0] == variant.id
    assert len(set(ids)) == len(ids)
    assert {"base_models", "demonstration_sets", "statistics"} <= {record.kind for record in lineage}
    assert len(lineage_table(tiny_run.store, lineage).splitlines()) == len(ids) + 2


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = write_inputs(tmp_path_factory.mktemp("card"))
    recipe = tiny_recipe()
    recipe["demonstrations"][0]["source"] = "fr"
    recipe["variants"] = [
        {"demonstrations": "mt", "contrast": "code", "score": "contrast", "sparsity": 0.5, "propagation": "dense"},
        {"score": "magnitude", "sparsity": 0.25, "name": "magnitude"},
    ]
    store = Store(folder / "store")
    return folder, store, run_here(write_recipe(folder, recipe), store)


def _score(variant):
    return variant.spec.score.score if isinstance(variant.spec, ScoredVariant) else None


def card_of(made, score):
    """Front matter and body of the card of the variant with a score."""
    _, store, plan = made
    wanted = next(one for one in plan.variants.values() if _score(one) == score)
    text = model_card(store, variant_record(store, wanted.id))
    _, front, body = text.split("---\n", maxsplit=2)
    return wanted.id, yaml.safe_load(front), body


def test_the_front_matter_names_the_base_model_and_the_variant(made):
    variant_id, front, _ = card_of(made, "contrast")
    assert front["base_model"] == "model"
    assert front["library_name"] == "transformers"
    assert front["language"] == ["en", "fr", "sw"]
    assert front["tags"] == ["mlprune", "pruned"]
    row = made[1].require("variants", variant_id).rows["variants"][0]
    assert front["mlprune"] == {key: row[key] for key in front["mlprune"]}
    assert {"variant_id", "base_model_id", "score", "sparsity", "achieved_sparsity"} <= set(front["mlprune"])


def as_list(value):
    return [value] if isinstance(value, str) else list(value)


def test_every_layer_has_its_removed_fraction(made):
    _, _, body = card_of(made, "magnitude")
    section = body.split("## Removed weights by layer")[1].split("##")[0]
    rows = [line.split(" | ") for line in section.strip().splitlines()]
    assert rows[0][0] == "| block"
    assert [cell.strip(" |") for cell in rows[0][1:]] == list(ARCHITECTURES["xglm"].layers)
    assert [row[0] for row in rows[2:]] == ["| 0", "| 1", "| 2"]
    assert all(cell.strip(" |") == "0.2500" for row in rows[2:] for cell in row[1:])


def test_the_demonstration_sets_stand_there_with_their_roles(made):
    _, _, body = card_of(made, "contrast")
    section = body.split("## Demonstrations of the score")[1].split("##")[0]
    assert "| demonstrations |" in section
    assert "| translation | fr | en |" in section
    assert "| contrast |" in section
    assert "| code |" in section
    assert "## Demonstrations of the score" not in card_of(made, "magnitude")[2]


def test_all_metrics_of_the_variant_and_of_no_other_are_listed(made):
    variant_id, _, body = card_of(made, "magnitude")
    section = body.split("## Evaluations")[1].split("##")[0]
    rows = [row for record in made[1].records("evaluations") for row in record.rows["metrics"]]
    metrics = [row for row in rows if row["variant_id"] == variant_id]
    assert {"facts", "perplexity", "translation"} == {row["task"] for row in metrics}
    lines = section.strip().splitlines()[2:]
    assert len(lines) == len(metrics)
    for row in metrics:
        start = f"| {row['task']} | {row['language']} | {row['split']} | {row['metric']} | {row['value']:.6g} |"
        assert any(line.startswith(start) for line in lines)


def test_the_lineage_lists_every_record_up_to_the_base_model_and_the_sets(made):
    variant_id, _, body = card_of(made, "contrast")
    section = body.split("## Lineage")[1].split("##")[0]
    store = made[1]
    variant = store.require("variants", variant_id)
    ordering = require_masks(store, variant.id).record
    parents = [one for found in (*variant.parents.values(), *ordering.parents.values()) for one in as_list(found)]
    for record_id in {variant_id, ordering.id, *parents}:
        assert f"| {record_id} |" in section
    for line in section.strip().splitlines()[2:]:
        kind, record_id, version = line.strip("| ").split(" | ")[:3]
        assert int(version) == store.require(kind, record_id).step_version
    kinds = {line.split(" | ")[0].strip("| ") for line in section.strip().splitlines()[2:]}
    assert kinds == {"variants", "masks", "base_models", "demonstration_sets", "statistics", "evaluations"}


def test_the_dense_card_says_so_and_claims_no_pruning(made):
    _, front, body = card_of(made, None)
    assert front["tags"] == ["mlprune"]
    assert "# model: dense" in body
    assert "## Removed weights by layer" not in body


def test_equal_records_give_equal_cards_and_an_export_holds_the_card(made, tmp_path):
    folder, store, plan = made
    for variant_id in plan.variants:
        text = model_card(store, variant_record(store, variant_id))
        assert text == model_card(Store(folder / "store"), variant_record(store, variant_id))
        export_variant(store, variant_id, folder / "model", tmp_path / variant_id)
        assert (tmp_path / variant_id / "README.md").read_text(encoding="utf-8") == text


def test_a_store_without_the_base_models_record_makes_no_card(made, tmp_path):
    _, store, plan = made
    bare = Store(tmp_path / "store")
    variant = variant_record(store, next(iter(plan.variants)))
    bare.write_record(variant)
    with pytest.raises(StoreError, match="base_models"):
        model_card(bare, variant)


@pytest.fixture(scope="module")
def methods(tmp_path_factory):
    """A run of variants of every further kind, few of them, and what their entries are called."""
    folder = write_inputs(tmp_path_factory.mktemp("methods"))
    recipe = method_recipe()
    names = {"first", "mean", "owl", "scope", "highest", "ria", "combined", "sparsegpt", "paper"}
    kept = [entry for entry in recipe["variants"] if entry["name"] in names]
    recipe["variants"] = [entry | ({"propagation": "dense"} if "propagation" in entry else {}) for entry in kept]
    return finished_run(folder, {**recipe, "evaluations": []}, name="methods")


def body_of(methods, name):
    variant = methods.named(name)[0]
    text = model_card(methods.store, variant_record(methods.store, variant.id))
    return methods.row("variants", variant.id), text


@pytest.mark.parametrize("name", ["first", "mean", "owl", "scope", "highest", "sparsegpt", "paper", "combined"])
def test_every_choice_that_is_known_of_a_variant_stands_in_its_card(methods, name):
    row, text = body_of(methods, name)
    section = text.split("## Properties")[1].split("##")[0]
    choices = ("removes", "schedule", "profile", "token_scope", "aggregation", "n_demonstrations")
    for column in (*choices, "combination", "score", "propagation", "structure"):
        line = f"| {column.replace('_', ' ')} | {row[column]} |"
        assert (line in section) is (row[column] is not None), column
    assert f"| mask sha256 | {row['mask_sha256']} |" in section


def test_several_sets_stand_there_with_their_weights_and_sentences(methods):
    _, text = body_of(methods, "mean")
    section = text.split("## Demonstrations of the score")[1].split("##")[0]
    lines = [line.strip("| ").split(" | ") for line in section.strip().splitlines()]
    columns = [dict(zip(lines[0], line, strict=False)) for line in lines[2:]]
    found = [(one["source language"], one["weight"], one["n sentences"]) for one in columns]
    assert found == [("fr", "0.25", "8"), ("sw", "0.75", "8")]


def test_the_statistics_a_variant_was_made_from_are_listed(methods):
    row, text = body_of(methods, "mean")
    section = text.split("## Activation statistics")[1].split("##")[0]
    links = methods.store.require("variants", row["variant_id"]).rows["variant_demonstrations"]
    read = {link["demonstration_set_id"] for link in links}
    rows = [record.rows["statistics"][0] for record in methods.store.records("statistics")]
    wanted = [one for one in rows if one["demonstration_set_id"] in read and one["token_scope"] == "all"]
    for one in wanted:
        assert f"| {one['statistics_id']} | {one['demonstration_set_id']} | dense | all |" in section
    assert len(section.strip().splitlines()) == 2 + len(wanted) == 4


def test_a_combination_names_its_parents_with_their_roles_and_all_their_lineage(methods):
    row, text = body_of(methods, "combined")
    links = methods.store.require("variants", row["variant_id"]).rows["variant_parents"]
    section = text.split("## Combined variants")[1].split("##")[0]
    lines = section.strip().splitlines()[2:]
    assert len(lines) == len(links) == 2
    for link, line in zip(links, lines, strict=True):
        assert line.startswith(f"| {link['role']} | {link['parent_variant_id']} |")
    lineage = text.split("## Lineage")[1].split("##")[0]
    assert {"variants", "statistics", "demonstration_sets", "base_models"} <= {
        line.split(" | ")[0].strip("| ") for line in lineage.strip().splitlines()[2:]
    }
    assert f"# model: {row['combination']}" in text
    assert "- pruned" in text.split("---")[1]
    assert "Plug-and-Play" in text
    assert "arXiv:2306.11695" in text


def test_the_papers_of_schedule_and_score_are_cited(methods):
    _, text = body_of(methods, "owl")
    section = text.split("## Method")[1]
    assert "arXiv:2310.05175" in section
    assert "arXiv:2306.11695" in section


def test_a_card_whose_demonstrations_are_damaged_is_refused(methods, tmp_path):
    variant = methods.named("first")[0]
    store = copy_of(methods.store, tmp_path / "store")
    set_id = methods.row("variants", variant.id)["demonstration_set_id"]
    (tmp_path / "store" / "demonstrations" / f"{set_id}.parquet").write_bytes(b"damaged")
    with pytest.raises(DamagedArtefactError):
        model_card(store, variant_record(store, variant.id))


def test_a_record_that_is_older_than_a_choice_makes_a_card_without_it(made, tmp_path):
    _, store, plan = made
    wanted = next(one for one in plan.variants.values() if _score(one) == "magnitude")
    record = variant_record(store, wanted.id)
    new = {"removes", "schedule", "scope", "profile", "token_scope", "aggregation", "n_demonstrations"}
    new |= {"resample_seed", "combination", "mask_sha256"}
    row = {name: value for name, value in record.rows["variants"][0].items() if name not in new}
    old = dataclasses.replace(record, rows={**record.rows, "variants": [row]})
    text = model_card(store, old)
    assert "| score | magnitude |" in text
    assert "| removes |" not in text


def test_evaluations_of_the_paper_profile_are_not_on_the_card(profile_run: FinishedRun) -> None:
    (variant,) = profile_run.named("m")
    card = model_card(profile_run.store, profile_run.store.require("variants", variant.id))
    records = [one for one in profile_run.store.records("evaluations") if "profile" not in one.rows["evaluations"][0]]
    rows = [row for record in records for row in record.rows["metrics"]]
    corrected = [row for row in rows if row["variant_id"] == variant.id]
    lines = [line for line in card.splitlines() if line.startswith(("| facts |", "| translation |"))]
    assert len(lines) == len(corrected) > 0
