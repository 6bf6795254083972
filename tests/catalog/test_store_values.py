"""Defaults of query parameters that follow from a store, and the line that explains an empty result."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from catalog.queries import answer_user_query, find_query, list_queries
from catalog.query_parameters import parse_parameters
from catalog.store import Catalog
from catalog.store_values import store_defaults
from mlprune.store.store import Store
from tests.catalog_data import evaluation_of, write_rows


@pytest.fixture(scope="module")
def only_xnli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    """The catalog of a store that has nothing but XNLI on dev, in two languages."""
    store = Store(tmp_path_factory.mktemp("xnli"))
    for language in ("fr", "sw"):
        evaluation_of(store, "some variant", task="xnli", language=language, split="dev", values={"accuracy": 0.5})
    with Catalog.open(store) as opened:
        yield opened


def defaults_of(catalog: Catalog, name: str, *pairs: str) -> dict[str, object]:
    parameters = find_query(name).parameters
    values = parse_parameters(pairs, parameters)
    return dict(store_defaults(catalog, values, given={pair.partition("=")[0] for pair in pairs}))


def test_the_only_task_and_split_of_a_store_are_the_defaults(only_xnli: Catalog) -> None:
    assert defaults_of(only_xnli, "values_by_variant") == {"task": "xnli", "split": "dev"}
    assert defaults_of(only_xnli, "best_by_language") == {"task": "xnli"}
    assert defaults_of(only_xnli, "values_by_variant", "task=facts") == {}
    assert defaults_of(only_xnli, "layer_sparsity") == {}


def test_defaults_that_the_store_has_stay(catalog: Catalog) -> None:
    for query in list_queries():
        values = {parameter.name: parameter.default for parameter in query.parameters}
        assert store_defaults(catalog, values, given=()) == {}, query.name


def test_a_given_task_determines_the_split_and_the_metric(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    evaluation_of(store, "v", task="facts", language="fr", split="test", values={"accuracy": 0.5})
    evaluation_of(store, "v", task="perplexity", language="fr", split="dev", values={"perplexity": 9.0})
    with Catalog.open(store) as opened:
        only = {"split": "dev", "metric": "perplexity"}
        assert defaults_of(opened, "values_by_variant", "task=perplexity") == only
        assert defaults_of(opened, "values_by_variant") == {}


def test_the_only_task_with_rank_consistencies_is_the_default_of_queries_of_these(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    for task in ("translation", "xnli"):
        evaluation_of(store, "v", task=task, language="fr", split="dev", values={"accuracy": 0.5})
    keys = {"variant_id": "v", "task": "xnli", "language": "fr", "reference_language": "en", "split": "dev"}
    row = {**keys, "evaluation_id": "e", "reference_evaluation_id": "f", "value": 0.5, "scoring_rule": "mean"}
    write_rows(store, "rank_consistency", parameters={}, parents={}, rows={"rank_consistency": [row]})
    with Catalog.open(store) as opened:
        found = answer_user_query(opened, "rank_consistency_to_english", []).notes
        assert found[:2] == tuple(
            f"{name}: the only {name.partition('=')[0]} that has rank consistencies"
            for name in ("task=xnli", "split=dev")
        )
        assert defaults_of(opened, "values_by_variant") == {"split": "dev"}


def notes(catalog: Catalog, text: str, *pairs: str) -> tuple[str, ...]:
    answer = answer_user_query(catalog, text, pairs)
    assert answer.result.rows == ()
    return answer.notes


def test_an_empty_result_names_what_the_store_has_instead(only_xnli: Catalog, catalog: Catalog) -> None:
    assert notes(only_xnli, "values_by_variant", "task=facts") == ("No rows for task=facts; the store has xnli (dev)",)
    (of_split,) = notes(only_xnli, "values_by_variant", "task=xnli", "split=test")
    assert of_split == "No rows for task=xnli, split=test; the store has xnli (dev)"
    (of_metric,) = notes(catalog, "values_by_variant", "task=facts", "metric=chrf")
    assert of_metric == "No rows for task=facts, split=test, metric=chrf; the store has metric accuracy, ece"
    assert notes(catalog, "best_by_language", "task=nope")[0].endswith(
        "the store has facts (dev, test), perplexity (test), translation (test)"
    )


def test_an_unknown_id_is_named(catalog: Catalog) -> None:
    (note,) = notes(catalog, "layer_sparsity", "variant_id=zzz")
    assert note.startswith("No rows for variant_id=zzz; the store has")
    assert "table variants" in note


def test_a_query_that_finds_nothing_for_known_parameters_says_what_it_returns(only_xnli: Catalog) -> None:
    replaced, explained = notes(only_xnli, "best_by_language")
    assert replaced == "task=xnli: the only task in the store"
    assert explained.startswith("No rows for task=xnli; the query returns one row per base model, language")
    assert explained.endswith("the store has xnli (dev)")
    assert notes(only_xnli, "failures")[0].startswith("No rows; the query returns one row per job that failed")


def test_sql_without_rows_says_so(only_xnli: Catalog) -> None:
    assert notes(only_xnli, "SELECT 1 AS a WHERE false") == ("No rows; the columns are a",)


def test_an_empty_store_is_said_to_have_no_evaluations(tmp_path: Path) -> None:
    with Catalog.open(Store(tmp_path / "store")) as opened:
        assert notes(opened, "values_by_variant") == ("No rows for task=facts; the store has no evaluations",)
