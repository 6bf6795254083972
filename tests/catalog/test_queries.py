"""Defaults of query parameters that follow from a store, and the line that explains an empty result."""

import math
import re
import statistics
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from catalog.queries import answer_user_query, complete_ids, is_sql, run_user_query, short_id_length, store_defaults
from catalog.results import QueryResult
from catalog.sql_files import FIRST_QUESTIONS, TOPICS, find_query, list_queries, named_query, parse_parameters
from catalog.store import Catalog
from mlprune.errors import QueryError
from mlprune.numeric.statistics.power import (
    detectable_difference,
    detectable_difference_of_items,
    fewest_changed,
)
from mlprune.store.store import Store
from tests.catalog.families import corrected, exploratory, key_of
from tests.catalog.method_data import OF_OTHER_SEARCHES
from tests.catalog.query_answers import all_answers, answers
from tests.catalog_data import LANGUAGES, PAIRS, SPARSITIES, write_rows
from tests.catalog_data import evaluation_of as catalog_data_evaluation_of
from tests.golden import contract
from tests.golden.comparison import differences


def test_a_parameter_may_be_the_unique_beginning_of_an_id(catalog: Catalog) -> None:
    ids = [row[0] for row in catalog.select("SELECT DISTINCT variant_id FROM variant_layers ORDER BY ALL").rows]
    whole = run_user_query(catalog, "layer_sparsity", [f"variant_id={ids[0]}"])
    length = next(n for n in range(4, 21) if sum(other.startswith(ids[0][:n]) for other in ids) == 1)
    assert run_user_query(catalog, "layer_sparsity", [f"variant_id={ids[0][:length]}"]) == whole
    assert whole.rows


def test_a_beginning_of_several_ids_is_an_error_that_lists_them(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catalog.queries.MIN_BEGINNING", 0)
    with pytest.raises(QueryError) as error:
        complete_ids(catalog, {"variant_id": ""})
    assert error.value.context["parameter"] == "variant_id"
    assert "more" in str(error.value.context["expected"])


def test_other_values_are_kept(catalog: Catalog) -> None:
    values = {"variant_id": "zzzz", "evaluation_id": None, "run_id": "a", "task": "facts"}
    assert complete_ids(catalog, values) == values


def test_ids_are_as_long_as_needed_to_tell_them_from_every_record(catalog: Catalog) -> None:
    known = catalog.select("SELECT id FROM records ORDER BY id LIMIT 1").rows[0][0]
    assert short_id_length(catalog, QueryResult(("id",), ((known,),))) == 8
    for n_equal in (7, 8, 13, 19):
        other = known[:n_equal] + ("0" if known[n_equal] != "0" else "1") + known[n_equal + 1 :]
        length = short_id_length(catalog, QueryResult(("id", "n"), ((other, 1), (None, 2))))
        assert length == max(8, n_equal + 1)
    assert short_id_length(catalog, QueryResult(("n",), ((1,),))) == 8


@pytest.fixture(scope="module")
def only_xnli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    """The catalog of a store that has nothing but XNLI on dev, in two languages."""
    store = Store(tmp_path_factory.mktemp("xnli"))
    for language in ("fr", "sw"):
        catalog_data_evaluation_of(
            store, "some variant", task="xnli", language=language, split="dev", values={"accuracy": 0.5}
        )
    with Catalog.open(store) as opened:
        yield opened


def defaults_of(catalog: Catalog, name: str, *pairs: str) -> dict[str, object]:
    parameters = find_query(name).parameters
    values = parse_parameters(pairs, parameters)
    return dict(store_defaults(catalog, values, given={pair.partition("=")[0] for pair in pairs}))


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_the_only_task_and_split_of_a_store_are_the_defaults(only_xnli: Catalog) -> None:
    assert defaults_of(only_xnli, "values_by_variant") == {"task": "xnli", "split": "dev"}
    assert defaults_of(only_xnli, "best_by_language") == {"task": "xnli"}
    assert defaults_of(only_xnli, "values_by_variant", "task=facts") == {}
    assert defaults_of(only_xnli, "layer_sparsity") == {}


def test_defaults_that_the_store_has_stay(catalog: Catalog) -> None:
    for query in list_queries():
        values = {parameter.name: parameter.default for parameter in query.parameters}
        assert store_defaults(catalog, values, given=()) == {}, query.name


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_a_given_task_determines_the_split_and_the_metric(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    catalog_data_evaluation_of(store, "v", task="facts", language="fr", split="test", values={"accuracy": 0.5})
    catalog_data_evaluation_of(store, "v", task="perplexity", language="fr", split="dev", values={"perplexity": 9.0})
    with Catalog.open(store) as opened:
        only = {"split": "dev", "metric": "perplexity"}
        assert defaults_of(opened, "values_by_variant", "task=perplexity") == only
        assert defaults_of(opened, "values_by_variant") == {}


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_metrics_that_have_to_be_asked_for_are_no_other_default(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    values = {"perplexity": 9.0, "divergence": 0.5, "top_agreement": 0.9}
    catalog_data_evaluation_of(store, "v", task="perplexity", language="fr", split="test", values=values)
    with Catalog.open(store) as opened:
        assert defaults_of(opened, "quantisation_cost") == {"task": "perplexity", "metric": "perplexity"}
        assert defaults_of(opened, "quantisation_cost", "metric=divergence") == {"task": "perplexity"}


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_the_only_task_with_rank_consistencies_is_the_default_of_queries_of_these(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    for task in ("translation", "xnli"):
        catalog_data_evaluation_of(store, "v", task=task, language="fr", split="dev", values={"accuracy": 0.5})
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


Rows = dict[str, list[dict[str, Any]]]
ALPHA = 0.05


def variants_of(rows: Rows) -> dict[str, dict[str, Any]]:
    """Variants by id, with their set's kind and source language."""
    sets = {row["demonstration_set_id"]: row for row in rows["demonstration_sets"]}
    found = {}
    for row in rows["variants"]:
        made_from = sets.get(row["demonstration_set_id"], {"kind": None, "source_language": None})
        found[row["variant_id"]] = {**row, "set_kind": made_from["kind"], "source": made_from["source_language"]}
    return found


def to_dense(rows: Rows, *, task: str = "facts", metric: str = "accuracy", split: str = "test") -> list[dict[str, Any]]:
    """Comparisons with dense."""
    dense = next(row["variant_id"] for row in rows["variants"] if row["sparsity"] == 0)
    wanted = {"baseline_id": dense, "task": task, "metric": metric, "split": split}
    return [row for row in rows["comparison_results"] if wanted.items() <= row.items()]


def test_every_query_describes_a_row_and_declares_its_parameters() -> None:
    for query in list_queries():
        assert "one row per" in query.description.lower()
        assert "$" not in query.description
        body = "\n".join(line for line in query.sql.splitlines() if not line.startswith("--"))
        used = set(re.findall(r"\$(\w+)", body))
        assert used | {one.parameter for one in query.reads} == {one.name for one in query.parameters}, query.name


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_every_query_has_a_topic_and_names_columns_that_it_has(methods_catalog: Catalog) -> None:
    queries = list_queries()
    assert {query.topic for query in queries} == set(TOPICS)
    for query in (query for query in queries if query.first):
        values = {parameter.name: parameter.default for parameter in query.parameters}
        assert set(query.first) <= set(methods_catalog.select(query.sql, query.bound(values)).columns), query.name


def test_the_first_questions_need_no_parameter() -> None:
    for name in FIRST_QUESTIONS:
        assert not any(parameter.required for parameter in find_query(name).parameters)


@pytest.fixture(scope="module")
def method_answers(methods_catalog: Catalog) -> dict[str, QueryResult]:
    """The answers of all queries to their defaults."""
    return all_answers(methods_catalog)


def test_every_query_has_rows_with_its_defaults_and_answers_what_is_pinned(
    method_answers: dict[str, QueryResult],
) -> None:
    assert {query.name for query in list_queries() if not method_answers[query.name].rows} == OF_OTHER_SEARCHES
    assert differences(contract.answer_contract(method_answers), contract.read("answers")) == []


def test_rows_can_be_told_apart_without_ids_and_values(method_answers: dict[str, QueryResult]) -> None:
    identifying = ("sparsity", "share", "level", "entropy")
    for query in (query for query in list_queries() if not any(one.required for one in query.parameters)):
        rows = method_answers[query.name].as_dicts()
        named = [
            tuple(
                str(value)
                for name, value in row.items()
                if not name.endswith("_id") and (name in identifying or not isinstance(value, float))
            )
            for row in rows
        ]
        assert len(set(named)) == len(named), query.name
        assert method_answers[query.name].columns[0] != "base_model_id", query.name


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_a_parameter_that_is_also_a_column_selects_the_rows_with_its_value(
    methods_catalog: Catalog, method_answers: dict[str, QueryResult]
) -> None:
    selected = []
    for query in (query for query in list_queries() if not any(one.required for one in query.parameters)):
        rows = method_answers[query.name].as_dicts()
        for name in (one.name for one in query.parameters if rows and one.name in rows[0]):
            value = max((row[name] for row in rows if row[name] is not None), key=str, default=None)
            if value is not None:
                expected = [row for row in rows if row[name] == value]
                assert answers(methods_catalog, query.name, f"{name}={value}") == expected, query.name
                selected.append((query.name, name))
    assert len(selected) > 30


def test_significant_gains_equal_holm_over_all_comparisons_with_dense(catalog: Catalog, rows: Rows) -> None:
    family = to_dense(rows)
    p_corrected = {
        row["evaluation_id"]: exploratory(rows)[key_of(row)].p_corrected for row in family if row["difference"] > 0
    }
    expected = {evaluation_id: p for evaluation_id, p in p_corrected.items() if p <= ALPHA}
    found = {row["evaluation_id"]: row["p_corrected"] for row in answers(catalog, "significant_changes", "change=gain")}
    assert expected
    assert found == expected


def test_holm_in_sql_equals_holm_in_python_for_every_row(catalog: Catalog, rows: Rows) -> None:
    family = [row for row in to_dense(rows) if row["difference"] > 0]
    families = exploratory(rows)
    found = {
        row["evaluation_id"]: row["p_corrected"]
        for row in answers(catalog, "significant_changes", "change=gain", "alpha=1")
    }
    assert found == {row["evaluation_id"]: families[key_of(row)].p_corrected for row in family}


def test_for_perplexity_less_is_a_gain(catalog: Catalog) -> None:
    found = answers(catalog, "significant_changes", "change=gain", "task=perplexity", "metric=perplexity", "alpha=1")
    assert found
    assert all(row["difference"] < 0 for row in found)


def test_demonstrations_are_compared_by_the_mean_outside_english(catalog: Catalog, rows: Rows) -> None:
    variants = variants_of(rows)
    wanted = {"task": "facts", "split": "test", "metric": "accuracy", "group_kind": "outside_english"}
    family = [row for row in rows["aggregate_results"] if wanted.items() <= row.items()]
    family = [row for row in family if variants[row["baseline_id"]]["sparsity"] > 0]
    p_corrected = [values.p_corrected for values in corrected([row["p_value"] for row in family])]
    means = ("group_kind=outside_english", "score=wanda")
    found = {(row["variant_id"], row["baseline_id"]): row for row in answers(catalog, "variants_compared", *means)}
    others = {key for key, row in found.items() if row["baseline_kind"] == "other variant"}
    found = {key: row for key, row in found.items() if key not in others}
    assert set(found) == {(row["variant_id"], row["baseline_id"]) for row in family}
    assert others == set()
    for stored, p_value in zip(family, p_corrected, strict=True):
        row, other = found[stored["variant_id"], stored["baseline_id"]], variants[stored["baseline_id"]]
        assert row["baseline_kind"] == ("random" if other["score"] == "random" else "monolingual")
        assert (row["sparsity"], row["n_family"]) == (other["sparsity"], len(family))
        for name in ("difference", "ci_low", "ci_high", "p_value"):
            assert row[name] == stored[name]
        assert row["p_corrected"] == pytest.approx(p_value)
    monolingual = answers(catalog, "variants_compared", *means, "baseline_kind=monolingual")
    assert 0 < len(monolingual) < len(found)
    assert {row["baseline_kind"] for row in monolingual} == {"monolingual"}


def test_english_cost_has_an_interval_of_every_method_and_of_both_seeds(catalog: Catalog, rows: Rows) -> None:
    variants = variants_of(rows)
    english = {row["variant_id"]: row for row in to_dense(rows) if row["language"] == "en"}
    groups: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for variant_id in english:
        variant = variants[variant_id]
        groups[tuple(variant[name] for name in ("score", "propagation", "set_kind", "source", "sparsity"))].append(
            variant_id
        )
    found = answers(catalog, "english_cost")
    assert len(found) == len(groups)
    for row in found:
        source = (row["demonstration_label"] or "").split("-")[0] or None
        members = groups[row["score"], row["propagation"], row["set_kind"], source, row["sparsity"]]
        differences = [english[variant_id]["difference"] for variant_id in members]
        assert row["n_variants"] == len(members)
        assert row["difference"] == pytest.approx(statistics.fmean(differences))
        assert row["value"] == pytest.approx(row["dense_value"] + row["difference"])
        width = 0.1 if row["score"] == "random" else 0.04
        assert (row["ci_low"], row["ci_high"]) == pytest.approx((row["difference"] - width, row["difference"] + width))
        names = {"random": "2 seeds", "magnitude": "one variant"}
        assert row["estimate"] == names.get(row["score"], "one draw")
        assert (row["p_value"] is None) == (row["score"] == "random")


def test_variants_without_an_estimate_over_seeds_have_a_mean_without_interval(catalog: Catalog, rows: Rows) -> None:
    found = answers(catalog, "sparsity_curve_by_language", "sparsity=0.5", "with_groups=true")
    pooled = next(row for row in found if (row["score"], row["language"]) == ("random", "outside_english"))
    variants = variants_of(rows)
    members = [
        row["difference"]
        for row in rows["aggregate_results"]
        if (variants[row["variant_id"]]["score"], variants[row["variant_id"]]["sparsity"]) == ("random", 0.5)
        and (row["task"], row["split"], row["metric"], row["group_kind"])
        == ("facts", "test", "accuracy", "outside_english")
    ]
    assert pooled["estimate"] == "mean of 2 variants, no test"
    assert pooled["difference"] == pytest.approx(statistics.fmean(members))
    ends = ("difference_ci_low", "difference_ci_high", "p_value", "p_corrected")
    assert [pooled[column] for column in ends] == [None] * 4
    assert all(row["difference_ci_low"] is not None for row in found if row["n_variants"] == 1)


def test_gain_by_sparsity_has_rows_outside_english_in_the_worst_language_and_in_english(
    catalog: Catalog, rows: Rows
) -> None:
    magnitude = {row["sparsity"]: row["variant_id"] for row in rows["variants"] if row["score"] == "magnitude"}
    found = {
        row["language"]: row
        for row in answers(catalog, "sparsity_curve_by_language", "sparsity=0.3", "with_groups=true")
        if row["score"] == "magnitude" and row["language"] in ("outside_english", "worst", "en")
    }
    differences = {row["language"]: row["difference"] for row in to_dense(rows) if row["variant_id"] == magnitude[0.3]}
    english = differences.pop("en")
    assert {name: row["difference"] for name, row in found.items()} == pytest.approx(
        {"outside_english": statistics.fmean(differences.values()), "worst": min(differences.values())}
        | {"en": english}
    )


def test_without_a_significant_change_the_smallest_p_value_is_shown_with_what_could_be_found(
    catalog: Catalog, rows: Rows
) -> None:
    smallest = min((row for row in to_dense(rows) if row["difference"] > 0), key=lambda row: row["p_value"])
    (row,) = answers(catalog, "significant_changes", "alpha=1e-12", "change=gain")
    assert row["change"] == "none significant"
    assert (row["p_value"], row["difference"]) == (smallest["p_value"], smallest["difference"])


def test_what_a_family_can_find_is_what_its_own_tests_can(catalog: Catalog) -> None:
    found = catalog.query("SELECT * FROM internal.comparisons WHERE test_family IS NOT NULL")
    assert {row["test"] for row in found} >= {"tango"}
    for row in found:
        n, n_tests, is_tango = row["n"], row["n_family"], row["test"] == "tango"
        fewest = fewest_changed(n_tests=n_tests, test="tango") if is_tango else None
        smallest = fewest / n if fewest is not None and fewest <= n else None
        error = row["standard_error"]
        detectable = detectable_difference(error, n_tests=n_tests) if error else None
        if is_tango and row["n_gained"] is not None:
            share = (row["n_gained"] + row["n_lost"]) / n
            detectable = detectable_difference_of_items(n, share, n_tests=n_tests, test="tango")
        assert row["smallest_significant"] == smallest
        expected = detectable and max(detectable, smallest or 0)
        assert row["detectable_difference"] == (expected and pytest.approx(expected, rel=1e-5))


def test_mask_overlap_by_layer_is_the_mean_over_pairs(catalog: Catalog, rows: Rows) -> None:
    variants = variants_of(rows)
    chosen = [
        row["jaccard"]
        for row in rows["mask_overlaps"]
        if (row["block"], row["layer"]) == (1, "fc1")
        and (variants[row["variant_a"]]["propagation"], variants[row["variant_a"]]["score"]) == ("dense", "wanda")
        and variants[row["variant_a"]]["sparsity"] == 0.3
    ]
    found = [
        row
        for row in answers(catalog, "mask_overlap_by_layer", "sparsity=0.3")
        if (row["block"], row["layer"], row["score"], row["propagation"]) == (1, "fc1", "wanda", "dense")
    ]
    counts = {row["set_kinds"]: row["n_pairs"] for row in found}
    assert counts == {"monolingual": 1, "translation": 1, "monolingual | translation": 4}
    assert max(row["max_jaccard"] for row in found) == max(chosen)
    mean = sum(float(row["mean_jaccard"]) * row["n_pairs"] for row in found) / len(chosen)
    assert mean == pytest.approx(statistics.fmean(chosen))
    assert [float(row["jaccard_by_chance"]) for row in found] == pytest.approx([0.3 / 1.7] * 3)


def test_rank_consistency_to_english_has_the_dense_value_and_a_corrected_test(catalog: Catalog, rows: Rows) -> None:
    wanted = {"reference_language": "en", "split": "test", "task": "facts"}
    known = {
        (row["variant_id"], row["language"]): row for row in rows["rank_consistency"] if wanted.items() <= row.items()
    }
    dense = next(row["variant_id"] for row in rows["variants"] if row["sparsity"] == 0)
    found = answers(catalog, "rank_consistency_to_english")
    assert {(row["variant_id"], row["language"]) for row in found} == set(known)
    for row in found:
        stored = known[row["variant_id"], row["language"]]
        assert row["value"] == stored["value"]
        assert row["dense_value"] == pytest.approx(known[dense, row["language"]]["value"])
        assert row["change"] == stored.get("difference")
        assert (row["p_corrected"] is None) == (row["variant_id"] == dense)
    tested = sorted(
        (row for row in found if row["p_value"] is not None), key=lambda row: (row["p_value"], row["p_corrected"])
    )
    assert [row["p_corrected"] for row in tested] == pytest.approx(
        [values.p_corrected for values in corrected([row["p_value"] for row in tested])]
    )
    assert {row["n_family"] for row in found} == {len(tested)}


def test_translation_and_perplexity_have_the_dense_value(catalog: Catalog, rows: Rows) -> None:
    translated = answers(catalog, "values_by_variant", "task=translation", "metric=NULL")
    assert {row["language"] for row in translated} == set(PAIRS)
    assert len(translated) == len(rows["variants"]) * len(PAIRS) * 3
    perplexities = answers(catalog, "values_by_variant", "task=perplexity", "metric=perplexity")
    assert len(perplexities) == len(rows["variants"]) * len(LANGUAGES)
    for row in perplexities:
        assert row["is_dense"] or math.isclose(row["ratio"], row["value"] / row["dense_value"])


def test_largest_features_and_overlaps_obey_their_parameters(catalog: Catalog, rows: Rows) -> None:
    largest = answers(catalog, "largest_features", "depth=1", "top=2")
    assert {(row["depth"], row["rank"]) for row in largest} == {(1, 1), (1, 2)}
    overlaps = answers(catalog, "feature_overlap_by_depth", "share=0.1")
    assert len(overlaps) * 2 == len(rows["feature_overlaps"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("best_by_language", False),
        (" best_by_language\n", False),
        ("no-such-query", False),
        ("SELECT 1 AS a", True),
        ("FROM records", True),
        ("WITH\tx AS (SELECT 1) FROM x", True),
        ("FROM(VALUES(1))", True),
        ("", True),
    ],
)
def test_a_single_bare_word_is_a_name_and_anything_else_is_sql(text: str, *, expected: bool) -> None:
    assert is_sql(text) is expected


def test_an_error_for_an_unknown_name_has_the_nearest_one() -> None:
    with pytest.raises(QueryError, match="nearest='best_by_language"):
        named_query("best_by_langage")
    assert "best_variant" in named_query("best_by_language")


def test_a_query_file_of_a_user_is_run_like_a_query_of_the_package(catalog: Catalog, tmp_path: Path) -> None:
    file = tmp_path / "mine.sql"
    file.write_text(
        "-- mine: one row per sparsity.\n-- $score VARCHAR = 'wanda'\n"
        "SELECT sparsity, count(*) AS n FROM variants WHERE score = $score GROUP BY ALL;\n"
    )
    assert sorted(row[0] for row in run_user_query(catalog, str(file)).rows) == list(SPARSITIES)
    assert run_user_query(catalog, str(file), ["score=none"]).rows == ()
    with pytest.raises(QueryError, match="a parameter is unknown"):
        run_user_query(catalog, str(file), ["task=facts"])


def test_the_summary_of_a_query_is_one_sentence() -> None:
    for query in list_queries():
        assert query.description.startswith(query.summary)
        assert 20 < len(query.summary) < 400
        assert not query.summary.endswith((".", " al"))


def test_an_empty_question_is_an_error_with_the_possible_questions(catalog: Catalog) -> None:
    with pytest.raises(QueryError, match="mlprune query --topics"):
        run_user_query(catalog, " ")


def test_a_missing_query_file_is_an_error_with_its_path(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(QueryError, match=r"cannot be read.*missing\.sql"):
        run_user_query(catalog, str(tmp_path / "missing.sql"))


def test_methods_have_the_layer_errors_of_their_variants_and_the_cost(catalog: Catalog, rows: Rows) -> None:
    errors = defaultdict(list)
    for row in rows["layer_errors"]:
        errors[row["variant_id"]].append(row["error"])
    found = answers(catalog, "methods_compared")
    for row in found:
        means = [statistics.fmean(errors[one]) for one in row["variant_ids"] if one in errors]
        assert row["layer_error"] == (pytest.approx(statistics.fmean(means)) if means else None)
        assert row["value"] == pytest.approx(row["dense_value"] * row["ratio"])
    assert any(row["layer_error"] is not None for row in found)
    assert {row["prune_cpu_s"] for row in found} > {None}


def test_methods_of_a_metric_of_which_more_is_better_are_ranked_by_their_gain(catalog: Catalog) -> None:
    rows = answers(catalog, "methods_compared", "task=facts", "metric=accuracy", "language=sw")
    assert {row["ratio"] for row in rows} == {None}
    assert [row["rank"] for row in rows] == [
        1 + sum(one["difference"] > row["difference"] for one in rows) for row in rows
    ]


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_layer_errors_of_another_dtype_are_not_those_of_a_method(
    catalog: Catalog, full_store: Store, rows: Rows
) -> None:
    """Evaluations and layer errors of the store name no dtype; one variant has errors in bfloat16, too."""
    row = rows["layer_errors"][0]
    matrices = write_rows(full_store, "gram_matrices", parameters={"dtype": "bfloat16"}, rows={})
    of_other = {**row, "error": 7.0, "gram_matrices_id": matrices}
    parents = {"variant": row["variant_id"], "gram_matrices": matrices}
    write_rows(full_store, "layer_errors", parameters={}, parents=parents, rows={"layer_errors": [of_other]})
    with Catalog.open(full_store) as with_others:
        with_others.fold()
        assert with_others.query("SELECT error FROM layer_errors WHERE error = 7") == [{"error": 7.0}]
        assert answers(with_others, "methods_compared") == answers(catalog, "methods_compared")


def test_pairs_of_variants_of_a_recipe_are_compared_without_dense(catalog: Catalog, rows: Rows) -> None:
    dense = next(row["variant_id"] for row in rows["variants"] if row["sparsity"] == 0)
    wanted = {"task": "facts", "metric": "accuracy", "split": "test", "language": "sw"}
    stored = {
        (row["variant_id"], row["baseline_id"]): row["difference"]
        for row in rows["comparison_results"]
        if wanted.items() <= row.items() and row["baseline_id"] != dense
    }
    found = answers(catalog, "variants_compared", "language=sw")
    assert {(row["variant_id"], row["baseline_id"]): row["difference"] for row in found} == stored
    assert stored
    assert {row["ratio"] for row in found} == {None}
    assert not answers(catalog, "variants_compared", "task=perplexity", "metric=perplexity")
