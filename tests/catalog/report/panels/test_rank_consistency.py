from matplotlib.figure import Figure

from catalog.report.exhibits import Panel
from catalog.report.panels.rank_consistency import consistency_intervals, consistency_matrices
from catalog.report.query_results import run_report_query
from catalog.store import Catalog
from tests.catalog.report.rows import TASK, Rows, drawn, grid, texts


def test_rank_consistency_is_that_of_dense_and_of_the_variant_chosen_for_the_language(
    catalog: Catalog, rows: Rows
) -> None:
    chosen = {
        row["language"]: row["variant_id"] for row in catalog.query("SELECT * FROM best_variant WHERE NOT is_dense")
    }
    values = {
        (row["variant_id"], row["language"]): row["value"]
        for row in rows["rank_consistency"]
        if (row["reference_language"], row["split"]) == ("en", "test")
    }
    shown = run_report_query(catalog, "rank_consistency").rows
    assert len(shown) == 3 + sum(language not in (None, "en") for language in chosen)
    for row in shown:
        assert row["rank_consistency"] == values[row["variant_id"], row["language"]]
        assert row["is_dense"] or row["variant_id"] == chosen[row["language"]]


def test_values_have_intervals_and_a_line_at_chance() -> None:
    row = {**TASK, "is_dense": True, "rank_consistency": 0.32, "ci_low": 0.27, "ci_high": 0.37, "chance": 0.261}
    (group,) = consistency_intervals([row])
    assert [entry.label for entry in group.legend] == ["dense model", "chosen variant", "chance"]
    panel = group.panels[0]
    assert panel.label == "RankC with English: fr dense model 0.320 (0.270 to 0.370), chance 0.261"
    axes = Figure().subplots()
    assert isinstance(panel, Panel)
    panel.draw(axes)
    segments = [[tuple(point) for point in lines.get_segments()[0]] for lines in axes.collections]
    assert [(a[0], b[0]) for a, b in segments] == [(0.27, 0.37)]
    assert [float(line.get_xdata()[0]) for line in axes.lines] == [0.32, 0.261]  # type: ignore[index]


def test_differences_to_dense_have_a_panel_with_intervals() -> None:
    row = {**TASK, "is_dense": False, "rank_consistency": 0.3, "ci_low": 0.2, "ci_high": 0.4, "chance": None}
    row |= {"difference": -0.02, "difference_ci_low": -0.05, "difference_ci_high": 0.01}
    (group,) = consistency_intervals([row])
    values, differences = group.panels
    assert differences.label == "RankC with English, chosen variant minus dense: fr −0.020 (−0.050 to +0.010)"
    axes = Figure().subplots()
    assert isinstance(differences, Panel)
    differences.draw(axes)
    assert [tuple(point[0] for point in lines.get_segments()[0]) for lines in axes.collections] == [(-0.05, 0.01)]
    (without,) = consistency_intervals([{**row, "difference": None}])
    assert len(without.panels) == 1
    assert values.label == without.panels[0].label


def test_values_without_an_interval_are_drawn() -> None:
    row = {**TASK, "is_dense": True, "rank_consistency": 0.0, "ci_low": None, "ci_high": None, "chance": None}
    (group,) = consistency_intervals([row])
    assert "fr" in texts(drawn(group.panels[0]))
    assert "fr dense model 0.000" in group.panels[0].label


def test_matrices_hold_every_pair_of_languages_for_dense_and_every_chosen_variant(catalog: Catalog, rows: Rows) -> None:
    answer_rows = run_report_query(catalog, "rank_matrices").rows
    chosen = {
        row["variant_id"]
        for row in catalog.query("SELECT * FROM best_variant WHERE language IS NOT NULL AND NOT is_dense")
    }
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
    assert (dense.rows, dense.columns) == (("es", "fr", "sw"), ("en", "es", "fr"))
    assert set(dense.values) == {(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2)}
    languages = ("en", "es", "fr", "sw")
    differences = {
        (row["variant_id"], row["language"], row["reference_language"]): row["difference"] for row in answer_rows
    }
    variants = dict.fromkeys(row["variant_id"] for row in answer_rows if row["chosen_for"])
    for panel, variant in zip(group.panels[1:], variants, strict=True):
        changes = grid(panel)
        assert changes.scale.is_diverging
        for (down, across), value in changes.values.items():
            first, second = languages[down + 1], languages[across]
            assert value in {differences.get((variant, first, second)), differences.get((variant, second, first))}
    assert {"score", "pair"} <= set(group.panels[1].facets)
