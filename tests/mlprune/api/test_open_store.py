"""An open store answers, loads models and reads files like the commands and the recipe's own run."""

import math
import pickle
import shutil
from pathlib import Path

import duckdb
import pytest
import torch
from transformers import AutoModelForCausalLM

import mlprune
from catalog.report.styles import BLUE
from catalog.store import Catalog
from catalog.stored_names import find_variants
from mlprune.api import OpenStore
from mlprune.capabilities.publishing.export import export_variant
from mlprune.errors import BadInputError, MlpruneError, QueryError, StoreError
from mlprune.store.store import Store
from tests.refusals import refused


def test_filters_select_rows_by_value_list_and_null(opened: OpenStore) -> None:
    everything = opened.variants()
    assert len(everything) == 4
    assert everything["sparsity"] == sorted(everything["sparsity"])
    assert opened.variants(sparsity=0.5)["sparsity"] == [0.5, 0.5]
    assert len(opened.variants(sparsity=[0.25, 0.5], score="wanda")) == 3
    assert opened.variants(score=None).row()["is_dense"]
    assert len(opened.variants(score=[None, "wanda"])) == 4
    assert opened.variants(propagation="sequential").row()["names"] == "sweep"


def test_metrics_are_those_of_the_catalog_with_the_variants_description(opened: OpenStore, filled_folder: Path) -> None:
    metrics = opened.metrics(task="facts", metric="accuracy", language="fr")
    with Catalog.open(Store(filled_folder)) as catalog:
        sql = "SELECT evaluation_id, value FROM metrics WHERE metric = 'accuracy' AND language = 'fr'"
        expected = {row["evaluation_id"]: row["value"] for row in catalog.query(sql)}
    assert dict(zip(metrics["evaluation_id"], metrics["value"], strict=True)) == expected
    assert len(expected) == 4
    dense = opened.metrics(is_dense=True, metric="accuracy", language="fr").row()
    assert {row["dense_value"] for row in metrics} == {dense["value"]}
    labels = dict(zip(opened.variants()["label"], opened.variants()["score"], strict=True))
    assert {row["label"]: row["score"] for row in metrics} == labels


def test_metrics_are_the_rows_of_the_statement_that_they_name(opened: OpenStore) -> None:
    relation = opened.metrics(language=["en", "fr"], score="wanda")
    by_sql = opened.sql(relation.sql, relation.parameters)
    assert by_sql.columns == relation.columns
    assert sorted(map(str, by_sql)) == sorted(map(str, relation))
    assert len(relation) > 0


@pytest.mark.thorough("opens stores in further processes")
def test_a_variant_is_named_by_label_name_id_and_beginning(opened: OpenStore, filled_folder: Path) -> None:
    sweep = opened.variants(propagation="sequential").row()
    names = [sweep["label"], "sweep", "tiny/sweep", sweep["variant_id"], str(sweep["variant_id"])[:6], "swee"]
    assert {opened[str(name)].id for name in names} == {sweep["variant_id"]}
    assert opened.metrics(variant="sweep")["label"] == opened["sweep"].metrics()["label"]
    both = opened.variants(variant="ordering")["variant_id"]
    assert sorted(map(str, both)) == sorted(find_variants(Store(filled_folder), ["ordering"]))
    assert opened["sweep"].label in opened._ipython_key_completions_()
    with pytest.raises(StoreError, match="several variants") as error:
        opened["ordering"]
    assert all(str(label) in str(error.value) for label in opened.variants(variant="ordering")["label"])


@pytest.mark.thorough("opens stores in further processes")
def test_layers_have_the_densities_of_the_masks(opened: OpenStore) -> None:
    layers = opened["sweep"].layers()
    assert len(layers) == len(set(zip(layers["block"], layers["layer"], strict=True))) > 0
    for row in layers:
        mask = opened.mask("sweep", int(str(row["block"])), str(row["layer"]))
        assert mask.dtype == torch.bool
        assert mask.ndim == 2
        assert row["n_weights"] == mask.numel()
        assert mask.float().mean().item() == pytest.approx(row["density"])


@pytest.mark.parametrize("name", ["sweep", "dense"])
def test_a_loaded_variant_has_the_weights_of_its_export(opened: OpenStore, name: str, tmp_path: Path) -> None:
    model = opened.load(name)
    variant = opened[name]
    export_variant(Store(opened.uri), variant.id, opened.model_folder(name), tmp_path / "exported")
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "exported", dtype=model.dtype)
    weights = exported.state_dict()
    assert weights.keys() == model.state_dict().keys()
    assert all(torch.equal(weights[key], value) for key, value in model.state_dict().items())
    ids = torch.tensor([[1, 5, 7]])
    assert torch.equal(model(ids).logits, exported.eval()(ids).logits)
    assert not model.training
    assert model.generation_config.to_dict() == exported.generation_config.to_dict()


def test_a_loaded_variant_generates_and_leaves_the_model_files_alone(opened: OpenStore) -> None:
    folder = opened.model_folder("sweep")
    before = (folder / "model.safetensors").read_bytes()
    tokenizer = opened.tokenizer("sweep")
    model = opened["sweep"].load()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    ids = tokenizer("3 cats", return_tensors="pt").input_ids
    assert model.generate(ids, max_new_tokens=3, do_sample=False).shape[1] <= ids.shape[1] + 3
    assert (folder / "model.safetensors").read_bytes() == before


def test_another_dtype_keeps_the_zeros(opened: OpenStore) -> None:
    model, half = opened.load("sweep"), opened.load("sweep", dtype="bf16", device="cpu")
    assert half.dtype == torch.bfloat16
    assert all(
        torch.equal(value == 0, other == 0) or not value.eq(0).any()
        for value, other in zip(model.parameters(), half.parameters(), strict=True)
    )
    assert opened.load("dense").dtype == model.dtype


def test_predictions_are_found_by_id_and_by_filters(opened: OpenStore) -> None:
    row = opened.evaluations(variant="sweep", language="fr").row()
    by_id = opened.predictions(str(row["evaluation_id"]))
    assert by_id.arrow().equals(opened.predictions(variant="sweep", task="facts", language="fr").arrow())
    assert len(set(by_id["example_id"])) == row["n_examples"]
    chosen = {one["example_id"]: one["is_gold"] for one in by_id if one["rank"] == 1}
    accuracy = opened.metrics(evaluation_id=row["evaluation_id"], metric="accuracy").row()["value"]
    assert sum(map(bool, chosen.values())) / len(chosen) == pytest.approx(accuracy)
    with pytest.raises(StoreError, match="one evaluation"):
        opened.predictions(task="facts")
    with pytest.raises(BadInputError, match="filters such as"):
        opened.predictions()


def test_demonstrations_and_statistics_of_a_set(opened: OpenStore) -> None:
    name = str(opened.sets().row()["label"])
    texts = opened.demonstrations(name)
    assert texts["demonstration"] == list(range(4))
    assert all("chats" in str(text) for text in texts["text"])
    statistics = opened.statistics(name, 0)
    row = opened.table("statistics", propagation="dense").row()
    assert all(sums.shape[0] == 4 and sums.dtype == torch.float32 for sums in statistics.values())
    assert row["n_demonstrations"] == 4
    assert "fc1" in statistics
    assert all(bool((sums >= 0).all()) for sums in statistics.values())
    with pytest.raises(StoreError, match="expected='0 to"):
        opened.statistics(name, 99)


WRONG = {
    "column": lambda store: store.metrics(langage="fr"),
    "value": lambda store: store.metrics(task="fact"),
    "variant": lambda store: store.load("sweeep"),
    "query": lambda store: store.query("best_by_langage"),
    "parameter": lambda store: store.query("best_by_language", tsk="facts"),
    "table": lambda store: store.table("metric"),
    "layer": lambda store: store.mask("sweep", 0, "fc3"),
    "set": lambda store: store.demonstrations("mtt"),
    "dtype": lambda store: store.load("sweep", dtype="bfloat61"),
    "attribute": lambda store: store.queries["best_by_langage"],
    "relation": lambda store: store.variants()["labl"],
}
NEAREST = {
    "column": "language",
    "value": "facts",
    "variant": "sweep",
    "query": "best_by_language",
    "parameter": "task",
    "table": "metrics",
    "layer": "fc",
    "set": "mt",
    "dtype": "bfloat16",
    "attribute": "best_by_language",
    "relation": "label",
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_name_is_one_line_with_the_nearest_name(opened: OpenStore, kind: str) -> None:
    with refused(MlpruneError) as error:
        WRONG[kind](opened)
    assert NEAREST[kind] in str(error.value.context["nearest"])


@pytest.mark.thorough("opens stores in further processes")
@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.sql("DROP TABLE metrics"),
        lambda store: store.sql("SELECT * FROM metrics WHERE task = $task"),
        lambda store: store.query("best_by_language", task=[1]),
        lambda store: store.query("significant_changes", alpha=True),
        lambda store: store.query("examples_of_evaluation"),
        lambda store: store.sql("SELECT 1 AS a, 2 AS a"),
        lambda store: store.load("sweep", device="gpu"),
        lambda store: store.mask("dense", 0, "fc1"),
        lambda store: store.mask("sweep", -1, "fc1"),
        lambda store: store.mask("sweep", "0", "fc1"),
        lambda store: store.mask("sweep", 0, ["fc1"]),
        lambda store: store.statistics("mt", "0"),
        lambda store: store.load("sweep", device="meta:cuda"),
        lambda store: store.load("sweep", device="cuda:77"),
        lambda store: store.load("sweep", device=torch.device("cuda:77")),
        lambda store: store.load("sweep", dtype=16),
        lambda store: store.metrics(language=["fr", "xx"]),
        lambda store: store.metrics(variant=["sweep", "sweeep"]),
        lambda store: store.query("values_by_variant", task="nope"),
        lambda store: store.query("values_by_variant", language="xx"),
        lambda store: mlprune.open(f"{store.uri}/nope"),
        lambda store: mlprune.open(None),
        lambda store: store.load("sweep", model="nowhere"),
        lambda store: store.variants(sparsity=3.0).row(),
    ],
)
def test_a_wrong_argument_is_an_error_of_the_project(opened: OpenStore, call) -> None:
    with pytest.raises(MlpruneError):
        call(opened)


def test_queries_are_functions_with_signatures_and_notes(opened: OpenStore) -> None:
    assert "best_by_language" in dir(opened.queries)
    assert opened.queries._ipython_key_completions_() == dir(opened.queries)
    significant = opened.queries.significant_changes
    assert "alpha" in str(significant.__signature__)
    assert significant.__doc__.startswith("what is significantly better or worse. One row per variant and language")
    rows = significant(alpha=1, split="test")
    assert rows.parameters["alpha"] == 1
    assert rows.sql == significant.sql
    by_name = opened.queries.layer_sparsity(variant_id="sweep")
    assert set(by_name["variant_id"]) == {opened["sweep"].id}
    with pytest.raises(QueryError) as error:
        opened.query("values_by_variant", metric="bleu")
    assert "accuracy" in str(error.value.context["expected"])
    with pytest.raises(AttributeError, match="best_by_language"):
        opened.queries.best_by_langage  # noqa: B018
    assert "best_by_language" in repr(opened.queries)
    assert ">best_by_language</td>" in opened.queries._repr_html_()


@pytest.mark.thorough("opens stores in further processes")
def test_an_open_store_follows_a_run_and_never_locks_its_catalog(filled_folder: Path, tmp_path: Path) -> None:
    root = shutil.copytree(filled_folder, tmp_path / "store")
    writer = Store(root)
    late = [next(record for record in writer.records("evaluations") if record.rows["metrics"])]
    texts = {record.path: (root / record.path).read_bytes() for record in late}
    for path in texts:
        (root / path).unlink()
    (root / "catalog.duckdb").unlink()
    store = mlprune.open(root)
    n_before = len(store.evaluations())
    for path, text in texts.items():
        (root / path).write_bytes(text)
    assert len(store.evaluations()) == n_before
    with Catalog.open(writer) as driver:
        assert driver.fold().persisted  # the open store does not hold the file
    assert len(store.evaluations()) == n_before + 1
    assert store.refresh() == 0
    store.close()
    assert len(store.evaluations()) == n_before + 1


def test_an_open_store_answers_while_another_process_writes_to_the_catalog(filled_folder: Path, tmp_path: Path) -> None:
    root = shutil.copytree(filled_folder, tmp_path / "store")
    with duckdb.connect(str(root / "catalog.duckdb")), mlprune.open(root) as store:
        assert len(store.metrics(variant="sweep")) == len(mlprune.open(filled_folder).metrics(variant="sweep")) > 0


def test_views_of_a_store_and_a_variant(opened: OpenStore) -> None:
    assert "4 variants" in repr(opened)
    html = opened._repr_html_()
    assert "facts" in html
    assert opened.uri in html
    variant = opened["sweep"]
    assert variant.label in repr(variant)
    assert variant.id in variant._repr_html_()
    assert not math.isnan(float(str(variant.row["sparsity"])))


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no records"):
        mlprune.open(tmp_path)


def test_a_list_of_values_that_occur_selects_the_rows_that_agree_with_the_other_filters(opened: OpenStore) -> None:
    languages = {str(row["language"]) for row in opened.metrics(language=["en", "fr"], variant=["sweep", "dense"])}
    assert languages == {"en", "fr"}
    assert len(opened.metrics(language=["en", "fr"], sparsity=0.99)) == 0


@pytest.mark.thorough("opens stores in further processes")
def test_a_store_is_a_collection_of_labels_and_can_be_pickled(opened: OpenStore) -> None:
    assert list(opened) == opened.variants()["label"]
    assert "dense" in opened
    assert "ordering" in opened
    assert "sweeep" not in opened
    assert 0 not in opened
    copy = pickle.loads(pickle.dumps(opened))
    assert list(copy) == list(opened)
    assert copy.queries.layer_sparsity(variant_id="sweep").columns
    assert pickle.loads(pickle.dumps(opened["sweep"])).label == opened["sweep"].label


def test_an_error_of_python_advises_an_argument_of_python(filled_folder: Path, tmp_path: Path) -> None:
    root = shutil.copytree(filled_folder, tmp_path / "store")
    shutil.rmtree(root / "runs")
    with pytest.raises(BadInputError) as error:
        mlprune.open(root).load("sweep")
    assert "model=" in str(error.value.context["next"])
    assert "--" not in str(error.value)


def test_a_wrong_name_of_many_is_shown_with_a_few_and_how_to_list_all(opened: OpenStore) -> None:
    for call in (
        lambda: opened.metrics(langage="fr"),
        lambda: opened.metrics()["langage"],
        lambda: opened.query("best_by_langage"),
        lambda: opened.table("metric"),
    ):
        with pytest.raises(QueryError) as error:
            call()
        context = error.value.context
        assert len(str(context["nearest"]).split(", ")) <= 3
        assert isinstance(context["expected"], str)
        assert len(str(error.value)) < 400
    with pytest.raises(QueryError) as error:
        opened.queries["nope"]
    assert "nearest" not in error.value.context


def test_notes_are_in_an_error_only_if_there_are_any(opened: OpenStore) -> None:
    with pytest.raises(QueryError) as error:
        opened.variants().row()
    assert error.value.context == {"expected": 1, "got": len(opened.variants())}


def test_methods_have_the_colours_of_the_report(opened: OpenStore) -> None:
    methods = {row["method"] for row in opened.variants() if not row["is_dense"]}
    styles = opened.method_styles()
    assert set(styles) == methods
    assert len({tuple(style.values()) for style in styles.values()}) == len(styles)
    assert {style["color"] for style in styles.values()} == {BLUE}  # both masks are of translations


def test_a_small_p_value_is_a_bound_in_a_notebook(opened: OpenStore) -> None:
    html = opened.sql("SELECT 1.355e-20::DOUBLE AS p_value, 1.5e-20::DOUBLE AS rate")._repr_html_()
    assert "&lt;0.001" in html
    assert "1.355e-20" not in html
    assert "1.5e-20" in html
