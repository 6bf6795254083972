import pytest

from catalog.report.panels.overlaps import (
    MAX_DEPTHS,
    MAX_PAIRS,
    MAX_ROWS,
    MAX_SETS,
    feature_heat_maps,
    mask_heat_maps,
)
from catalog.report.query_results import run_report_query
from catalog.store import Catalog
from tests.catalog.report.rows import METHOD, Rows, grid


def test_of_many_sets_and_blocks_an_even_selection_is_drawn_and_the_heading_says_so() -> None:
    sets = [f"{n:020d}" for n in range(MAX_SETS + 1)]
    kinds = {
        "kind_a": "monolingual",
        "target_a": None,
        "seed_a": 0,
        "profile_a": None,
        "kind_b": "monolingual",
        "target_b": None,
        "seed_b": 0,
    }
    rows = [
        {
            "base_model": "tiny",
            "base_model_id": "m",
            "share": 0.3,
            "depth": depth,
            "value": 0.1,
            "set_a": a,
            "set_b": b,
        }
        | {**kinds, "source_a": a[-2:], "source_b": b[-2:], "profile_b": None, "demonstration_label": a[-2:]}
        for depth in range(MAX_DEPTHS + 5)
        for a in sets
        for b in sets
    ]
    (group,) = feature_heat_maps(rows)
    assert len(group.panels) == MAX_DEPTHS
    assert "14 of 15 sets drawn" in group.title
    assert f"{MAX_DEPTHS} of {MAX_DEPTHS + 5} depths drawn" in group.title
    last = grid(group.panels[-1])
    assert last.title == f"block {MAX_DEPTHS + 3}"  # depth 0 is before the first block
    assert (len(last.rows), len(last.columns)) == (MAX_SETS + 1, MAX_SETS)
    (hidden,) = [row for row, facets in zip(last.rows, last.row_facets, strict=True) if "detail" in facets]
    assert hidden not in last.columns
    assert last.without_details().rows == last.columns


FRENCH = {"kind": "translation", "source": "fr", "target": "en", "profile": None}


def test_labels_of_sets_of_equal_languages_differ_by_seed_or_id() -> None:
    sets = {"aaaa1": 0, "bbbb2": 0, "cccc3": 7}
    rows = [
        {"base_model": "t", "base_model_id": "m", "share": 0.3, "depth": 0, "value": 0.1, "set_a": a, "set_b": b}
        | {f"{word}_{side}": value for side in "ab" for word, value in FRENCH.items()}
        | {"seed_a": sets[a], "seed_b": sets[b], "demonstration_label": "fr-en"}
        for a in sets
        for b in sets
    ]
    (group,) = feature_heat_maps(rows)
    assert {"fr-en aaaa", "fr-en bbbb", "fr-en s7"} == set(grid(group.panels[0]).rows)


def test_sets_have_the_same_order_down_and_across_though_none_is_compared_with_itself(catalog: Catalog) -> None:
    rows = [row for row in run_report_query(catalog, "feature_overlaps").rows if row["set_a"] != row["set_b"]]
    panels = [grid(panel) for group in feature_heat_maps(rows) for panel in group.panels]
    assert all(panel.rows == panel.columns for panel in panels)
    assert not [place for panel in panels for place in panel.values if place[0] == place[1]]


def test_the_overlap_of_two_sets_is_the_mean_over_the_layers_of_a_block(catalog: Catalog, rows: Rows) -> None:
    answer_rows = run_report_query(catalog, "mask_overlaps").rows
    assert {row["sparsity"] for row in answer_rows} == {0.5}
    sets = {row["demonstration_set_id"]: row for row in rows["demonstration_sets"]}
    variants = {row["variant_id"]: row for row in rows["variants"]}

    def languages(variant_id: str) -> str:
        one = sets[variants[variant_id]["demonstration_set_id"]]
        return "-".join(filter(None, (one["source_language"], one["target_language"])))

    (cell,) = [
        row
        for row in answer_rows
        if (row["score"], row["propagation"], row["sets"], row["block"]) == ("wanda", "dense", "es-en and fr-en", 1)
    ]
    expected = [
        row["jaccard"]
        for row in rows["mask_overlaps"]
        if row["block"] == 1
        and variants[row["variant_a"]]["propagation"] == "dense"
        and (variants[row["variant_a"]]["score"], variants[row["variant_a"]]["sparsity"]) == ("wanda", 0.5)
        and {languages(row["variant_a"]), languages(row["variant_b"])} == {"es-en", "fr-en"}
    ]
    assert len(expected) == 2
    assert cell["jaccard"] == pytest.approx(sum(expected) / 2)
    (group,) = mask_heat_maps(answer_rows)
    titles = [grid(panel).title for panel in group.panels]
    assert "wanda, dense propagation, sparsity 0.5" in titles
    assert grid(group.panels[0]).columns == ("0", "1")


@pytest.mark.parametrize("n_pairs", [MAX_PAIRS + 2, 10 * MAX_ROWS])
def test_of_many_pairs_of_sets_an_even_selection_is_drawn(n_pairs: int) -> None:
    row = {"base_model": "t", "base_model_id": "m", **METHOD, "jaccard": 0.5, "block": 0}
    (group,) = mask_heat_maps(
        [
            {**row, "sets": f"{n:04d} and x", "demonstration_label": f"{n:04d}", "other_demonstration_label": "x"}
            for n in range(n_pairs)
        ]
    )
    drawn = grid(group.panels[0])
    assert f"{MAX_PAIRS} of {n_pairs} pairs of sets drawn" in drawn.title
    assert len(drawn.without_details().rows) == MAX_PAIRS
    assert min(n_pairs, MAX_ROWS) <= len(drawn.rows) <= MAX_ROWS + MAX_PAIRS
    assert [facets["pair"] for facets in drawn.row_facets] == [name.replace(" and ", "\n") for name in drawn.rows]
    assert list(drawn.rows) == sorted(drawn.rows)
