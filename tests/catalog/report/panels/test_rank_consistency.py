from catalog.report.panels.rank_consistency import consistency_bars, consistency_matrices
from catalog.report.query_results import run_report_query
from catalog.store import Catalog
from tests.catalog.report.rows import TASK, Rows, drawn, grid, texts


def test_rank_consistency_is_that_of_dense_and_of_the_variant_chosen_for_the_language(
    catalog: Catalog, rows: Rows
) -> None:
    chosen = {row["language"]: row["variant_id"] for row in catalog.query("SELECT * FROM best_variant")}
    values = {
        (row["variant_id"], row["language"]): row["value"]
        for row in rows["rank_consistency"]
        if (row["reference_language"], row["split"]) == ("en", "test")
    }
    shown = run_report_query(catalog, "rank_consistency").rows
    assert len(shown) == 6
    for row in shown:
        assert row["rank_consistency"] == values[row["variant_id"], row["language"]]
        assert row["is_dense"] or row["variant_id"] == chosen[row["language"]]


def test_bars_of_nothing_but_zeros_are_drawn() -> None:
    row = {**TASK, "is_dense": True, "rank_consistency": 0.0}
    (group,) = consistency_bars([row])
    assert "0.00" in texts(drawn(group.panels[0]))


def test_matrices_hold_every_pair_of_languages_for_dense_and_every_chosen_variant(catalog: Catalog, rows: Rows) -> None:
    answer_rows = run_report_query(catalog, "rank_matrices").rows
    chosen = {row["variant_id"] for row in catalog.query("SELECT * FROM best_variant WHERE task = 'facts'")}
    assert {row["variant_id"] for row in answer_rows if row["chosen_for"]} == chosen
    values = {
        (row["variant_id"], row["language"], row["reference_language"]): row["value"]
        for row in rows["rank_consistency"]
        if row["split"] == "test"
    }
    assert all(
        row["rank_consistency"] == values[row["variant_id"], row["language"], row["reference_language"]]
        for row in answer_rows
    )
    (group,) = consistency_matrices(answer_rows)
    assert len(group.panels) == 1 + len(chosen)
    dense = grid(group.panels[0])
    assert dense.title == "dense model"
    assert dense.rows == dense.columns == ("en", "es", "fr", "sw")
    assert len(dense.values) == 12
    assert (0, 0) not in dense.values
    assert {"score", "pair"} <= set(group.panels[1].facets)
