import math
import statistics
from collections import defaultdict
from typing import Any

import duckdb
import pytest

from catalog.ingest.insert_rows import LARGEST_COUNT
from catalog.ingest.table_files import views
from catalog.sql_files import statement
from catalog.store import Catalog
from mlprune.store.store import Store
from tests.catalog.families import corrected
from tests.catalog_data import LANGUAGES, SPARSITIES, default_protocol, write_rows
from tests.records import made_up_record

Rows = dict[str, list[dict[str, Any]]]


def values(rows: Rows, *, metric: str = "accuracy", split: str = "test") -> dict[tuple[str, str], float]:
    """(variant, language) -> value on the facts task."""
    wanted = {"task": "facts", "metric": metric, "split": split}
    return {
        (row["variant_id"], row["language"]): row["value"] for row in rows["metrics"] if wanted.items() <= row.items()
    }


def dense_of(rows: Rows) -> str:
    return next(str(row["variant_id"]) for row in rows["variants"] if row["sparsity"] == 0)


def test_every_view_describes_one_row() -> None:
    assert {"language_gap", "against_dense", "best_variant", "sparsity_curve", "pareto", "lineage"} <= set(views())
    for file in views().values():
        assert "one row per" in file.description.lower()


def test_the_largest_counts_of_one_row_do_not_hide_the_others_of_a_view(store: Store) -> None:
    assert store.local_root is not None
    with duckdb.connect(str(store.local_root / "catalog.duckdb")) as connection:
        counts = f"n_items = {LARGEST_COUNT}, n_languages = {LARGEST_COUNT}, n_clusters = {LARGEST_COUNT}"
        connection.execute(f"UPDATE aggregate_results SET {counts}, test = 'sign_flip' WHERE metric = 'accuracy'")
        for view in ("internal.aggregates", "answers"):
            connection.execute(f"SELECT * FROM {view}").fetchall()
        count = "SELECT count(smallest_significant), count(*) FILTER (metric <> 'accuracy') FROM internal.aggregates"
        assert min(connection.execute(count).fetchall()[0]) > 0


def test_against_dense_has_exactly_the_comparisons_with_dense(catalog: Catalog, rows: Rows) -> None:
    dense = dense_of(rows)
    keys = ("evaluation_id", "metric", "difference", "ci_low", "ci_high")
    expected = {tuple(row[key] for key in keys) for row in rows["comparison_results"] if row["baseline_id"] == dense}
    found = catalog.query("SELECT * FROM internal.against_dense WHERE group_kind = 'language'")
    assert {tuple(row[key] for key in keys) for row in found} == expected
    assert len(found) == len(expected)
    for row in found:
        is_ratio = row["metric"] == "perplexity"
        value, dense_value = (math.log(row[name]) if is_ratio else row[name] for name in ("value", "dense_value"))
        assert row["difference"] == pytest.approx(value - dense_value, abs=1e-12)


def test_best_variant_is_chosen_on_dev_and_reported_on_test(catalog: Catalog, rows: Rows) -> None:
    on_dev, on_test, dense = values(rows, split="dev"), values(rows), dense_of(rows)
    wanted = {"baseline_id": dense, "task": "facts", "split": "test", "metric": "accuracy"}
    compared = {
        (row["variant_id"], row["language"]): row for row in rows["comparison_results"] if wanted.items() <= row.items()
    }
    found = {row["criterion"]: row for row in catalog.query("SELECT * FROM best_variant")}
    assert set(found) == {*LANGUAGES, "outside_english", "worst"}
    p_values = [found[language]["p_value"] for language in LANGUAGES if found[language]["p_value"] is not None]
    for language in LANGUAGES:
        row = found[language]
        ranked = sorted(
            rows["variants"], key=lambda v: (-on_dev[v["variant_id"], language], v["sparsity"], v["variant_id"])
        )
        best = ranked[0]["variant_id"]
        assert (row["variant_id"], row["language"], row["n_candidates"]) == (best, language, len(ranked))
        assert (row["dev_value"], row["test_value"]) == (on_dev[best, language], on_test[best, language])
        assert row["dense_value"] == on_test[dense, language]
        assert (row["is_dense"], row["sparsity"] == 0) == (best == dense, best == dense)
        if best == dense:
            assert (row["difference"], row["p_value"], row["p_corrected"], row["english_difference"]) == (
                0,
                None,
                None,
                0,
            )
            continue
        comparison, english = compared[best, language], compared[best, "en"]
        assert (row["difference"], row["p_value"]) == (comparison["difference"], comparison["p_value"])
        assert (row["difference_ci_low"], row["difference_ci_high"]) == (comparison["ci_low"], comparison["ci_high"])
        assert (row["english_difference"], row["english_ci_low"]) == (english["difference"], english["ci_low"])
        assert row["n_family"] == len(p_values)
        assert row["p_corrected"] == pytest.approx(
            dict(zip(p_values, corrected(p_values), strict=True))[row["p_value"]].p_corrected
        )
    assert {found[name]["language"] for name in ("outside_english", "worst")} == {None}


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"difference": 0.05, "p_value": 1e-9}, "gain shown"),
        ({"difference": -0.05, "p_value": 1e-9}, "loss shown"),
        ({"difference": 0.05, "p_value": 0.2}, "not shown"),
        ({"difference": 0.05, "p_value": None}, "not shown"),
        ({"difference": 0.0, "p_value": 1e-9}, "not shown"),
        ({"difference": 0.05, "p_value": 1e-9, "metric": "perplexity", "scale": "log_ratio"}, "loss shown"),
        ({"difference": -0.05, "p_value": 1e-9, "metric": "perplexity", "scale": "log_ratio"}, "gain shown"),
        ({"difference": 0.0, "p_value": None, "is_dense": True}, "no gain on dev"),
    ],
)
def test_a_choice_is_used_only_if_its_gain_is_shown_on_test(
    catalog: Catalog, change: dict[str, Any], verdict: str
) -> None:
    (row,) = decided(catalog, change)
    assert row["verdict"] == verdict
    assert row["use"] == (row["label"] if verdict == "gain shown" else "keep dense")


def decided(catalog: Catalog, change: dict[str, Any]) -> list[dict[str, Any]]:
    """The view `best_variant` of one choice for a group of languages, in which some columns are changed."""
    columns = {name: value for name, value in change.items() if name != "is_dense"}
    if change.get("is_dense"):
        columns["variant_id"] = catalog.query("SELECT baseline_id FROM choices WHERE is_chosen")[0]["baseline_id"]
    texts = {name: "NULL" if value is None else repr(value) for name, value in columns.items()}
    replaced = ", ".join(f"{text} AS {name}" for name, text in texts.items())
    select = views()["best_variant"].statement.partition(" AS\n")[2].rstrip(";")
    one = "(FROM choices WHERE is_chosen AND group_kind = 'outside_english' LIMIT 1)"
    changed = f"(SELECT * REPLACE ({replaced}) FROM {one})"
    assert select.count("FROM choices AS c") == 1
    rows = catalog.query(select.replace("FROM choices AS c", f"FROM {changed} AS c"))
    return [dict(row) for row in rows]


def test_a_tie_is_broken_on_this_data(rows: Rows) -> None:
    """Otherwise the test above would not see how."""
    on_dev = values(rows, split="dev")
    variants = [row["variant_id"] for row in rows["variants"]]
    best = {language: max(on_dev[variant, language] for variant in variants) for language in LANGUAGES}
    assert [language for language in LANGUAGES if sum(on_dev[v, language] == best[language] for v in variants) > 1]


def test_the_choice_with_most_candidates_is_shown_and_can_be_dense(store: Store) -> None:
    (record,) = store.records("choices")
    chosen = [row for row in record.rows["choices"] if row["is_chosen"]]
    own: dict[str, Any] = {"choice_id": "@id", "variant_id": chosen[0]["baseline_id"], "difference": 0.0}
    own |= {"p_value": None, "ci_low": None, "ci_high": None}
    for n_candidates, row in ((2, chosen[0]), (999, chosen[1])):
        rows = {"choices": [{**row, **own, "n_candidates": n_candidates}]}
        write_rows(store, "choices", parameters={"n": n_candidates}, rows=rows)
    with Catalog.open(store) as catalog:
        catalog.fold()
        found = {row["criterion"]: row for row in catalog.query("SELECT * FROM best_variant")}
        assert len(catalog.query("FROM choices")) == len(record.rows["choices"]) + 2
    assert len(found) == len(chosen)
    smaller, larger = (found[str(row["group_name"])] for row in chosen[:2])
    assert (smaller["choice_id"], smaller["is_dense"]) == (record.id, False)
    assert (larger["n_candidates"], larger["label"], larger["sparsity"], larger["is_dense"]) == (999, "dense", 0, True)
    assert (larger["difference"], larger["p_corrected"], larger["english_difference"]) == (0, None, 0)


def test_sparsity_curve_averages_seeds_and_starts_at_dense(catalog: Catalog, rows: Rows) -> None:
    known, dense = values(rows), dense_of(rows)
    groups: dict[float, list[float]] = defaultdict(list)
    for variant in rows["variants"]:
        if variant["score"] == "random":
            groups[variant["sparsity"]].append(known[variant["variant_id"], "sw"])
    found = catalog.query(
        "SELECT sparsity, value, n_variants FROM internal.sparsity_curve WHERE score = $score AND language = $language"
        " AND task = 'facts' AND split = 'test' AND metric = 'accuracy' ORDER BY sparsity",
        {"score": "random", "language": "sw"},
    )
    assert [row["sparsity"] for row in found] == [0.0, *SPARSITIES]
    assert [row["n_variants"] for row in found] == [1, 2, 2, 2]
    expected = [known[dense, "sw"], *(statistics.fmean(groups[sparsity]) for sparsity in SPARSITIES)]
    assert [row["value"] for row in found] == pytest.approx(expected)


def test_pareto_marks_the_front_of_dev_and_has_the_values_of_test(catalog: Catalog, rows: Rows) -> None:
    others = [language for language in LANGUAGES if language != "en"]
    points: dict[str, dict[str, tuple[float, float]]] = {}
    for split in ("dev", "test"):
        known = values(rows, split=split)
        points[split] = {
            row["variant_id"]: (
                known[row["variant_id"], "en"],
                round(statistics.fmean(known[row["variant_id"], language] for language in others), 9),
            )
            for row in rows["variants"]
        }
    dense = dense_of(rows)
    found = {row["variant_id"]: row for row in catalog.query("SELECT * FROM internal.pareto")}
    assert set(found) == set(points["test"])
    for variant, row in found.items():
        assert (row["english_value"], row["others_value"]) == pytest.approx(points["test"][variant])
        english, mean = points["dev"][variant]
        dominated = any(e >= english and m >= mean and (e, m) != (english, mean) for e, m in points["dev"].values())
        assert row["is_efficient"] is not dominated
        differences = [
            value - of_dense for value, of_dense in zip(points["test"][variant], points["test"][dense], strict=True)
        ]
        assert (row["english_difference"], row["others_difference"]) == pytest.approx(differences, abs=1e-9)
        assert (row["others_ci_low"] is None) == (variant == dense)
    assert {row["is_efficient"] for row in found.values()} == {True, False}


def test_the_change_of_a_gap_is_split_into_english_and_the_language(catalog: Catalog, rows: Rows) -> None:
    found = catalog.query(
        "SELECT * FROM internal.language_gap WHERE task = 'facts' AND split = 'test' AND metric = 'accuracy'"
    )
    compared = {(row["evaluation_id"], row["metric"], row["baseline_id"]): row for row in rows["comparison_results"]}
    dense = dense_of(rows)
    wanted = {"group_kind": "gap", "metric": "accuracy", "split": "test", "baseline_id": dense}
    gaps = {
        (row["variant_id"], row["group_name"]): row
        for row in rows["aggregate_results"]
        if wanted.items() <= row.items()
    }
    pruned = [row for row in found if row["variant_id"] != dense]
    assert len(pruned) > len(LANGUAGES)
    for row in pruned:
        assert row["minus_english_change"] == pytest.approx(row["language_change"] - row["english_change"])
        language, english = (
            compared[row[key], "accuracy", dense] for key in ("evaluation_id", "english_evaluation_id")
        )
        assert (row["language_change_ci_low"], row["english_change_ci_high"]) == (
            language["ci_low"],
            english["ci_high"],
        )
        gap = gaps[row["variant_id"], row["language"]]
        assert row["minus_english_change"] == pytest.approx(gap["difference"])
        assert (row["minus_english_change_ci_low"], row["minus_english_change_ci_high"]) == (
            gap["ci_low"],
            gap["ci_high"],
        )
        assert row["minus_english_change_p_value"] == gap["p_value"]


def test_lineage_leads_from_a_number_to_its_file_and_statistics(catalog: Catalog, filled: Store, rows: Rows) -> None:
    contrast = next(row for row in rows["variants"] if row["score"] == "contrast")
    links = rows["ordering_variants"]
    sql = "SELECT * FROM internal.lineage WHERE variant_id = $variant_id"
    found = catalog.query(sql, {"variant_id": contrast["variant_id"]})
    assert len(found) == sum(row["variant_id"] == contrast["variant_id"] for row in rows["metrics"])
    read = {contrast["demonstration_set_id"], contrast["contrast_set_id"]}
    expected = sorted(row["statistics_id"] for row in rows["statistics"] if row["demonstration_set_id"] in read)
    for row in found:
        artefact = filled.require("evaluations", row["evaluation_id"]).artefacts[0]
        assert (row["artefact_path"], row["artefact_sha256"]) == (artefact.path, artefact.sha256)
        assert {"variant_id": contrast["variant_id"], "ordering_id": row["ordering_id"], "level": row["level"]} in links
        assert row["statistics_ids"].split() == expected
    everything = catalog.query("SELECT count(*) AS n FROM internal.lineage")
    assert everything == [{"n": len(rows["metrics"])}]


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_a_comparison_made_twice_counts_once(store: Store) -> None:
    """Two recipes compare the same evaluations, each with other languages."""
    record = next(store.records("comparisons"))
    changed = [{**row, "comparison_id": "zzz"} for row in record.rows["comparison_results"]]
    again = made_up_record("comparisons", {"again": True}, rows={"comparison_results": changed})
    with Catalog.open(store) as opened:
        before = opened.query("SELECT count(*) AS n FROM internal.against_dense")
        store.write_record(again)
        opened.fold()
        assert opened.query("SELECT count(*) AS n FROM internal.against_dense") == before
        kept = opened.query("SELECT DISTINCT comparison_id FROM internal.comparisons")
    assert {"comparison_id": "zzz"} in kept


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_an_adopted_and_a_new_evaluation_of_the_same_thing_count_once(store: Store) -> None:
    """Evaluations and comparisons of a variant and the dense model are there in two versions, with other ids."""
    found = [row for record in store.records("variants") for row in record.rows["variants"]]
    magnitude = next(row["variant_id"] for row in found if row["score"] == "magnitude")
    dense = next(row["variant_id"] for row in found if row["sparsity"] == 0)
    reports = ("difference_by_sparsity", "means_outside_english", "pareto", "perplexity")
    texts = [statement("report", name) for name in (*reports, "translation_quality", "overview")]
    views = ("internal.method_differences", "internal.sparsity_curve", "best_variant", "internal.pareto")
    texts += [f"FROM {view} ORDER BY ALL" for view in views]
    ids = "comparison_id, evaluation_id, baseline_evaluation_id"
    texts.append(f"SELECT * EXCLUDE ({ids}) FROM internal.against_dense ORDER BY ALL")
    with Catalog.open(store) as opened:
        before = [_without_ids(opened.query(text)) for text in texts]
        new_ids = {}
        for record in [*store.records("evaluations")]:
            if record.rows["evaluations"][0]["variant_id"] in (magnitude, dense):
                rows = {name: [row | {"evaluation_id": "@id"} for row in table] for name, table in record.rows.items()}
                later = {"later": record.id}
                new_ids[record.id] = write_rows(store, "evaluations", parameters=later, rows=rows, step_version=5)
        for record in [*store.records("comparisons")]:
            first = record.rows["comparison_results"][0]
            if (first["variant_id"], first["baseline_id"]) == (magnitude, dense):
                rows = {name: [_renamed(row, new_ids) for row in table] for name, table in record.rows.items()}
                write_rows(store, "comparisons", parameters={"later": record.id}, rows=rows)
        opened.fold()
        assert opened.query("SELECT count(*) AS n FROM internal.outdone_evaluations") == [{"n": len(new_ids)}]
        for text, rows in zip(texts, before, strict=True):
            assert _without_ids(opened.query(text)) == rows, text[:60]


def _renamed(row: dict[str, Any], new_ids: dict[str, str]) -> dict[str, Any]:
    evaluations = ("evaluation_id", "baseline_evaluation_id")
    return row | {"comparison_id": "@id"} | {name: new_ids[row[name]] for name in evaluations if name in row}


def _without_ids(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in row.items() if not name.endswith(("evaluation_id", "comparison_id"))}
        for row in rows
    ]


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_evaluations_that_others_replace_are_left_out(store: Store) -> None:
    """A variant and the dense model are evaluated once more, with the same and with more examples."""
    found = {row["variant_id"]: row for one in store.records("variants") for row in one.rows["variants"]}
    dense = next(key for key, row in found.items() if row["sparsity"] == 0)
    variant = next(key for key, row in found.items() if row["score"] == "magnitude")
    keys = {"task": "facts", "language": "sw", "split": "test", **default_protocol("facts")}
    new: dict[str, str] = {}
    for variant_id, n in ((dense, 40), (variant, 50)):
        same = {"evaluation_id": "@id", "variant_id": variant_id, "scoring_rule": "mean", **keys}
        metric = {**same, "metric": "accuracy", "value": 0.9, "n": n}
        rows = {"evaluations": [{**same, "n_examples": n}], "metrics": [metric]}
        new[variant_id] = write_rows(store, "evaluations", parameters={"n": n}, rows=rows, step_version=2)
    where = "WHERE task = 'facts' AND language = 'sw' AND split = 'test' AND metric = 'accuracy' AND variant_id = $id"
    with Catalog.open(store) as opened:
        for variant_id in (dense, variant):
            sql = f"SELECT evaluation_id, dense_value FROM measured {where}"
            assert opened.query(sql, {"id": variant_id}) == [{"evaluation_id": new[variant_id], "dense_value": 0.9}]
        assert opened.query(f"SELECT 1 FROM internal.against_dense {where}", {"id": variant}) == []
        sql = f"SELECT value FROM internal.sparsity_curve {where.replace('variant_id', 'score')} ORDER BY sparsity"
        assert [row["value"] for row in opened.query(sql, {"id": "magnitude"})] == [0.9, 0.9]


def test_every_comparison_is_against_dense_or_against_others(catalog: Catalog) -> None:
    (to_dense,) = catalog.query("SELECT count(*) AS n FROM internal.against_dense")
    (to_others,) = catalog.query("SELECT count(*) AS n FROM differences WHERE NOT baseline_is_dense")
    assert to_others["n"] > 0
    (compared,) = catalog.query(
        "SELECT count(*) AS n FROM internal.comparisons ANTI JOIN internal.outdone_evaluations USING (evaluation_id) "
        "WHERE profile = 'corrected'"
    )
    (grouped,) = catalog.query("SELECT count(*) AS n FROM internal.aggregates WHERE profile = 'corrected'")
    assert compared["n"] + grouped["n"] == to_dense["n"] + to_others["n"]
    names = "source_language, propagation"
    columns = {row["variant_id"]: row for row in catalog.query(f"SELECT variant_id, {names} FROM described_variants")}
    for row in catalog.query("SELECT * FROM differences WHERE NOT baseline_is_dense"):
        one, other = columns[row["variant_id"]], columns[row["baseline_id"]]
        for aspect, column in {"language": "source_language", "propagation": "propagation"}.items():
            differs = None not in (one[column], other[column]) and one[column] != other[column]
            assert (aspect in row["differs_in"].split(", ")) is differs
    for row in catalog.query("SELECT * FROM internal.against_dense WHERE gain IS NOT NULL"):
        assert row["gain"] == (row["difference"] if row["higher_is_better"] else -row["difference"])
        assert row["outcome"] == ("better" if row["gain"] > 0 else "worse" if row["gain"] < 0 else None)
