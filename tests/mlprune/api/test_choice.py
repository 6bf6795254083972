"""Conditions, order and limit of the readers: the rows are those of SQL, and nothing but reading is possible."""

import inspect
from collections.abc import Callable

import numpy as np
import polars
import pytest

from catalog.store.export import relations
from mlprune.api import OpenStore
from mlprune.api.choice import listed
from mlprune.errors import QueryError, StoreError


def test_conditions_order_and_limit_choose_the_rows_of_sql(opened: OpenStore) -> None:
    conditions = ["value > $least", "label LIKE 'wanda%' OR is_dense -- one expression"]
    rows = opened.metrics(
        where=conditions, parameters={"least": 0.1}, order_by=["value DESC"], limit=3, metric="accuracy"
    )
    found = list(opened.metrics(metric="accuracy"))
    expected = [row for row in found if row["value"] > 0.1 and (row["label"].startswith("wanda") or row["is_dense"])]
    assert list(rows) == sorted(expected, key=lambda row: -row["value"])[:3]
    assert len(rows) == 3
    assert list(opened.sql(rows.sql, rows.parameters)) == list(rows)


def test_rows_have_a_defined_order_unless_it_is_left_open(opened: OpenStore) -> None:
    metrics = list(opened.metrics())
    assert metrics == list(opened.metrics())
    labels = list(dict.fromkeys(row["label"] for row in metrics))
    assert labels == [label for label in opened if label in labels]
    assert sorted(map(str, opened.metrics(order_by=()))) == sorted(map(str, metrics))
    assert "ORDER BY" not in opened.layers(order_by=()).sql
    by_metric = list(opened.metrics(order_by="metric"))
    assert by_metric == sorted(metrics, key=lambda row: row["metric"])
    table = opened.table("evaluations", order_by="n_examples DESC", limit=2)
    assert list(table) == sorted(opened.table("evaluations"), key=lambda row: -row["n_examples"])[:2]


WRONG: list[Callable[[OpenStore], object]] = [
    lambda store: store.metrics(where="value > 0) OR (true"),
    lambda store: store.metrics(where="value > 0; DROP TABLE metrics"),
    lambda store: store.metrics(where="value > 0, true"),
    lambda store: store.metrics(where=""),
    lambda store: store.metrics(where="valeu > 0"),
    lambda store: store.metrics(where="label IN (SELECT * FROM read_text('/etc/hostname'))"),
    lambda store: store.metrics(where=[3]),
    lambda store: store.metrics(where=3),
    lambda store: store.metrics(where="value > $least"),
    lambda store: store.metrics(parameters={"least": 3}),
    lambda store: store.metrics(where="language = $language_0", parameters={"language_0": "en"}, language="fr"),
    lambda store: store.metrics(order_by="valeu"),
    lambda store: store.metrics(order_by="value sideways"),
    lambda store: store.metrics(order_by="value DESC; DROP TABLE metrics"),
    lambda store: store.metrics(limit=-1),
    lambda store: store.metrics(limit=True),
    lambda store: store.metrics(limit="3"),
    lambda store: store.metrics(sparsity="0.3"),
    lambda store: store.metrics(sparsity=[0.3, "x"]),
    lambda store: store.metrics(language=3),
    lambda store: store.metrics(language={"en", "xx"}),
    lambda store: store.metrics(is_dense="yes"),
    lambda store: store.metrics(label=store["dense"]),
    lambda store: store.sql("SELECT ?", "x"),
    lambda store: store.sql("SELECT $a", [1]),
    lambda store: store.sql("SELECT ?"),
]


@pytest.mark.thorough("opens stores in further processes")
@pytest.mark.parametrize("call", WRONG, ids=inspect.getsource)
def test_a_wrong_choice_is_refused(opened: OpenStore, call: Callable[[OpenStore], object]) -> None:
    with pytest.raises(QueryError) as error:
        call(opened)
    assert len(str(error.value)) < 400


@pytest.mark.thorough("opens stores in further processes")
def test_lists_of_values_come_from_any_library(opened: OpenStore) -> None:
    rows = list(opened.metrics(language=["en", "fr"]))
    for values in ({"fr", "en"}, ("en", "fr"), np.array(["en", "fr"]), polars.Series(["en", "fr"])):
        assert list(opened.metrics(language=values)) == rows
    assert listed(np.float64(0.5)) == [0.5]
    assert listed("en") == ["en"]
    assert opened.metrics(variant={"sweep", opened["dense"]})["label"] == [
        row["label"] for row in opened.metrics(variant=["sweep", "dense"])
    ]
    assert len(opened.variants(variant="sweep", variant_id=opened["dense"].id)) == 0


@pytest.mark.thorough("opens stores in further processes")
def test_no_column_has_the_name_of_an_argument(opened: OpenStore) -> None:
    columns = {column for name in relations() for column in opened.table(name, limit=0).columns}
    assert not columns & (set(inspect.signature(opened.table).parameters) - {"name", "filters"})
    assert opened.table("names", name="sweep").row()["recipe"] == "tiny"


def test_parameters_of_sql_have_names_or_places(opened: OpenStore) -> None:
    assert opened.sql("SELECT ? - ? AS value", [5, 3])["value"] == [2]
    assert opened.sql("SELECT $a - $b AS value", {"a": 5}, b=3)["value"] == [2]


@pytest.mark.thorough("opens stores in further processes")
def test_a_store_is_a_mapping_from_labels_to_variants(opened: OpenStore) -> None:
    assert len(opened) == len(opened.variants())
    assert opened.keys() == list(opened)
    assert dict(opened) == dict(opened.items())
    assert [variant.label for variant in opened.values()] == opened.keys()


def test_a_variant_has_its_evaluations_predictions_and_tokenizer(opened: OpenStore) -> None:
    sweep = opened["sweep"]
    assert list(sweep.evaluations(limit=1)) == list(opened.evaluations(variant="sweep"))[:1]
    assert sweep.predictions(task="facts", language="fr").arrow() == (
        opened.predictions(variant="sweep", task="facts", language="fr").arrow()
    )
    assert sweep.tokenizer().vocab_size == opened.tokenizer("sweep").vocab_size
    with pytest.raises(StoreError, match="one evaluation"):
        sweep.predictions(task="facts")
