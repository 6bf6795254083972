import pytest
import yaml

from mlprune.errors import StoreError
from mlprune.models.families import FAMILIES
from mlprune.steps.export import export_variant, variant_record
from mlprune.steps.model_card import model_card
from mlprune.storage import Store
from tests.tiny_recipes import run_here, tiny_recipe, write_inputs, write_recipe


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


def card_of(made, score):
    """Front matter and body of the card of the variant with a score."""
    _, store, plan = made
    wanted = next(
        one for one in plan.variants.values() if (one.spec.choice.score if one.spec.choice else None) == score
    )
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


def test_every_layer_has_its_removed_fraction(made):
    _, _, body = card_of(made, "magnitude")
    section = body.split("## Removed weights by layer")[1].split("##")[0]
    rows = [line.split(" | ") for line in section.strip().splitlines()]
    assert rows[0][0] == "| block"
    assert [cell.strip(" |") for cell in rows[0][1:]] == list(FAMILIES["xglm"].layers)
    assert [row[0] for row in rows[2:]] == ["| 0", "| 1", "| 2"]
    assert all(cell.strip(" |") == "0.2500" for row in rows[2:] for cell in row[1:])


def test_the_demonstration_sets_stand_there_with_their_roles(made):
    _, _, body = card_of(made, "contrast")
    section = body.split("## Demonstrations the score read")[1].split("##")[0]
    assert "| demonstrations |" in section
    assert "| translation | fr | en |" in section
    assert "| contrast |" in section
    assert "| code |" in section
    assert "## Demonstrations the score read" not in card_of(made, "magnitude")[2]


def test_all_metrics_of_the_variant_and_of_no_other_are_listed(made):
    variant_id, _, body = card_of(made, "magnitude")
    section = body.split("## Evaluations")[1].split("##")[0]
    metrics = [
        row
        for record in made[1].records("evaluations")
        for row in record.rows["metrics"]
        if row["variant_id"] == variant_id
    ]
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
    ordering = store.require("masks", variant.rows["variants"][0]["ordering_id"])
    wanted = {variant_id, ordering.id, *variant.parents.values(), *ordering.parents.values()}
    for record_id in wanted:
        assert f"| {record_id} |" in section
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
