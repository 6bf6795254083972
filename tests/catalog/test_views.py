import statistics
from collections import defaultdict
from typing import Any

import pytest

from catalog.ingest.view_files import views
from catalog.store import Catalog
from mlprune.store.store import Store
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
    assert {"language_gap", "gain_over_dense", "best_variant", "sparsity_curve", "pareto", "lineage"} <= set(views())
    for file in views().values():
        assert "one row per" in file.description


def test_language_gap_is_english_minus_the_language_and_its_change_since_dense(catalog: Catalog, rows: Rows) -> None:
    known, dense = values(rows), dense_of(rows)
    sql = "SELECT * FROM language_gap WHERE task = 'facts' AND split = 'test' AND metric = 'accuracy'"
    found = catalog.query(sql)
    assert len(found) == len(rows["variants"]) * (len(LANGUAGES) - 1)
    for row in found:
        gap = known[row["variant_id"], "en"] - known[row["variant_id"], row["language"]]
        dense_gap = known[dense, "en"] - known[dense, row["language"]]
        assert row["gap"] == pytest.approx(gap)
        assert row["dense_gap"] == pytest.approx(dense_gap)
        assert row["gap_change"] == pytest.approx(gap - dense_gap)


def test_gain_over_dense_has_exactly_the_comparisons_with_dense(catalog: Catalog, rows: Rows) -> None:
    dense = dense_of(rows)
    keys = ("evaluation_id", "metric", "difference", "ci_low", "ci_high")
    expected = {tuple(row[key] for key in keys) for row in rows["comparison_results"] if row["baseline_id"] == dense}
    found = catalog.query("SELECT * FROM gain_over_dense")
    assert {tuple(row[key] for key in keys) for row in found} == expected
    assert len(found) == len(expected)
    assert all(row["value"] - row["dense_value"] == row["difference"] for row in found)


def test_best_variant_is_chosen_on_dev_and_reported_on_test(catalog: Catalog, rows: Rows) -> None:
    on_dev, on_test, dense = values(rows, split="dev"), values(rows), dense_of(rows)
    pruned = [row for row in rows["variants"] if row["sparsity"] > 0]
    wanted = {"baseline_id": dense, "task": "facts", "split": "test", "metric": "accuracy"}
    compared = {
        (row["variant_id"], row["language"]): row for row in rows["comparison_results"] if wanted.items() <= row.items()
    }
    found = {row["language"]: row for row in catalog.query("SELECT * FROM best_variant")}
    assert set(found) == set(LANGUAGES)
    for language, row in found.items():
        by_rank = sorted(pruned, key=lambda v: (-on_dev[v["variant_id"], language], -v["sparsity"], v["variant_id"]))
        best = by_rank[0]["variant_id"]
        assert row["variant_id"] == best
        assert (row["dev_value"], row["test_value"]) == (on_dev[best, language], on_test[best, language])
        assert row["dense_value"] == on_test[dense, language]
        comparison, english = compared[best, language], compared[best, "en"]
        assert (row["difference"], row["p_value"]) == (comparison["difference"], comparison["p_value"])
        assert (row["difference_ci_low"], row["difference_ci_high"]) == (comparison["ci_low"], comparison["ci_high"])
        assert (row["english_difference"], row["english_ci_low"]) == (english["difference"], english["ci_low"])


def test_best_variant_breaks_ties_by_sparsity_on_this_data(rows: Rows) -> None:
    """Without a tie the test above would not see how ties are broken."""
    on_dev = values(rows, split="dev")
    pruned = [row["variant_id"] for row in rows["variants"] if row["sparsity"] > 0]
    best = {language: max(on_dev[variant, language] for variant in pruned) for language in LANGUAGES}
    ties = [language for language in LANGUAGES if sum(on_dev[v, language] == best[language] for v in pruned) > 1]
    assert ties


def test_sparsity_curve_averages_seeds_and_starts_at_dense(catalog: Catalog, rows: Rows) -> None:
    known, dense = values(rows), dense_of(rows)
    groups: dict[float, list[float]] = defaultdict(list)
    for variant in rows["variants"]:
        if variant["score"] == "random":
            groups[variant["sparsity"]].append(known[variant["variant_id"], "sw"])
    found = catalog.query(
        "SELECT sparsity, value, n_variants FROM sparsity_curve WHERE score = $score AND language = $language"
        " AND task = 'facts' AND split = 'test' AND metric = 'accuracy' ORDER BY sparsity",
        {"score": "random", "language": "sw"},
    )
    assert [row["sparsity"] for row in found] == [0.0, *SPARSITIES]
    assert [row["n_variants"] for row in found] == [1, 2, 2, 2]
    expected = [known[dense, "sw"], *(statistics.fmean(groups[sparsity]) for sparsity in SPARSITIES)]
    assert [row["value"] for row in found] == pytest.approx(expected)


def test_pareto_marks_exactly_the_variants_that_none_dominates(catalog: Catalog, rows: Rows) -> None:
    known = values(rows)
    others = [language for language in LANGUAGES if language != "en"]
    found = catalog.query("SELECT variant_id, english_value, others_value, is_efficient FROM pareto")
    points = {row["variant_id"]: (row["english_value"], row["others_value"]) for row in found}
    assert set(points) == {row["variant_id"] for row in rows["variants"]}
    for row in found:
        english, mean = points[row["variant_id"]]
        assert english == known[row["variant_id"], "en"]
        assert mean == pytest.approx(statistics.fmean(known[row["variant_id"], language] for language in others))
        dominated = any(e >= english and m >= mean and (e, m) != (english, mean) for e, m in points.values())
        assert row["is_efficient"] is not dominated
    assert {row["is_efficient"] for row in found} == {True, False}


def test_lineage_leads_from_a_number_to_its_file_and_statistics(catalog: Catalog, filled: Store, rows: Rows) -> None:
    contrast = next(row for row in rows["variants"] if row["score"] == "contrast")
    links = rows["ordering_variants"]
    sql = "SELECT * FROM lineage WHERE variant_id = $variant_id"
    found = catalog.query(sql, {"variant_id": contrast["variant_id"]})
    assert len(found) == sum(row["variant_id"] == contrast["variant_id"] for row in rows["metrics"])
    read = {contrast["demonstration_set_id"], contrast["contrast_set_id"]}
    expected = sorted(row["statistics_id"] for row in rows["statistics"] if row["demonstration_set_id"] in read)
    for row in found:
        artefact = filled.require("evaluations", row["evaluation_id"]).artefacts[0]
        assert (row["artefact_path"], row["artefact_sha256"]) == (artefact.path, artefact.sha256)
        assert {"variant_id": contrast["variant_id"], "ordering_id": row["ordering_id"], "level": row["level"]} in links
        assert row["statistics_ids"].split() == expected
    everything = catalog.query("SELECT count(*) AS n FROM lineage")
    assert everything == [{"n": len(rows["metrics"])}]


def test_a_comparison_made_twice_counts_once(store: Store) -> None:
    """Two recipes compare the same evaluations, each with other languages."""
    record = next(store.records("comparisons"))
    changed = [{**row, "comparison_id": "zzz"} for row in record.rows["comparison_results"]]
    again = made_up_record("comparisons", {"again": True}, rows={"comparison_results": changed})
    with Catalog.open(store) as opened:
        before = opened.query("SELECT count(*) AS n FROM gain_over_dense")
        store.write_record(again)
        opened.fold()
        assert opened.query("SELECT count(*) AS n FROM gain_over_dense") == before
        kept = opened.query("SELECT DISTINCT comparison_id FROM comparisons")
    assert {"comparison_id": "zzz"} in kept


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
        for view in ("gain_over_dense", "comparisons_to_dense"):
            assert opened.query(f"SELECT 1 FROM {view} {where}", {"id": variant}) == []
        sql = f"SELECT value FROM sparsity_curve {where.replace('variant_id', 'score')} ORDER BY sparsity"
        assert [row["value"] for row in opened.query(sql, {"id": "magnitude"})] == [0.9, 0.9]
