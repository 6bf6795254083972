import pytest

from catalog.report.exhibits import Grid, Group
from catalog.report.panels.features import MAX_DEPTHS, MAX_OVERLAP_SETS, MAX_SETS, feature_heat_maps, magnitude_panels
from catalog.report.query_results import run_report_query
from catalog.store import Catalog
from tests.catalog.report.rows import Rows, drawn, grid, texts


def test_features_that_are_large_most_often_have_a_key_and_far_ones_a_logarithmic_scale() -> None:
    row = {
        "base_model": "t",
        "base_model_id": "m",
        "kind": "monolingual",
        "source_language": "fr",
        "target_language": None,
        "profile": None,
        "demonstration_label": None,
    }
    rows = [
        {**row, "seed": 0, "demonstration_set_id": "s", "depth": block, "feature": feature, "magnitude": magnitude}
        for block in range(4)
        for feature, magnitude in ((5, 900.0), (6 + block, 2.0))
    ]
    (group,) = magnitude_panels(rows)
    assert group.legend[0].label == "feature 5"
    assert "fr · monolingual" in texts(drawn(group.panels[0]))
    (near,) = magnitude_panels([{**one, "magnitude": 2.0} for one in rows])
    assert drawn(near.panels[0]) != drawn(group.panels[0])
    assert {"2", "5", "10", "20", "50", "100", "200", "500"} <= set(texts(drawn(group.panels[0])))
    assert "$" not in drawn(group.panels[0])


def test_of_many_demonstration_sets_an_even_selection_has_panels() -> None:
    row = {
        "base_model": "t",
        "base_model_id": "m",
        "kind": "monolingual",
        "target_language": None,
        "profile": None,
        "demonstration_label": None,
        "seed": 0,
        "depth": 0,
    }
    rows = [
        {**row, "source_language": f"l{n}", "demonstration_set_id": f"s{n}", "feature": 1, "magnitude": 1.0}
        for n in range(MAX_SETS + 3)
    ]
    (group,) = magnitude_panels(rows)
    assert len(group.panels) == MAX_SETS
    assert group.title == "t, 24 of 27 sets drawn"


def test_of_many_sets_and_blocks_an_even_selection_is_drawn_and_the_heading_says_so() -> None:
    sets = [f"{n:020d}" for n in range(MAX_OVERLAP_SETS + 1)]
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
            "dtype": "float32",
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
    assert (len(last.rows), len(last.columns)) == (MAX_OVERLAP_SETS + 1, MAX_OVERLAP_SETS)
    (hidden,) = [row for row, facets in zip(last.rows, last.row_facets, strict=True) if "detail" in facets]
    assert hidden not in last.columns
    assert last.without_details().rows == last.columns


FRENCH = {"kind": "translation", "source": "fr", "target": "en", "profile": None}


def test_labels_of_sets_of_equal_languages_differ_by_seed_or_id() -> None:
    sets = {"aaaa1": 0, "bbbb2": 0, "cccc3": 7}
    rows = [
        {"base_model": "t", "base_model_id": "m", "dtype": None, "share": 0.3, "depth": 0, "value": 0.1}
        | {"set_a": a, "set_b": b}
        | {f"{word}_{side}": value for side in "ab" for word, value in FRENCH.items()}
        | {"seed_a": sets[a], "seed_b": sets[b], "demonstration_label": "fr-en"}
        for a in sets
        for b in sets
    ]
    (group,) = feature_heat_maps(rows)
    assert {"fr-en aaaa", "fr-en bbbb", "fr-en s7"} == set(grid(group.panels[0]).rows)


def _grids(group: Group) -> list[Grid]:
    return [grid(panel) for panel in group.panels]


def test_heat_maps_under_a_second_heading_have_the_shared_largest_features(catalog: Catalog, rows: Rows) -> None:
    statistics = {row["demonstration_set_id"]: row["statistics_id"] for row in rows["statistics"]}
    largest: dict[tuple[str, int], set[int]] = {}
    for row in rows["feature_magnitudes"]:
        largest.setdefault((row["statistics_id"], row["depth"]), set()).add(row["feature"])
    answer_rows = run_report_query(catalog, "feature_overlaps").rows
    known = [row for row in answer_rows if row["top_shared"] is not None]
    assert known
    for row in known:
        first, second = (largest[statistics[row[f"set_{side}"]], row["depth"]] for side in "ab")
        assert row["top_shared"] == pytest.approx(len(first & second) / len(first))
        assert row["top_by_chance"] == len(first) / 8
    groups = list(feature_heat_maps(answer_rows))
    assert len(groups) == len({row["share"] for row in answer_rows}) + 1 > 2
    (shared,) = [panels for panels in map(_grids, groups) if panels[0].column_name == "large in B"]
    assert {panel.column_name for panel in shared} == {"large in B"}  # a figure with a heading and a scale of its own
    assert [panel.title.partition(",")[0] for panel in shared] == [
        f"{known[0]['n_top']} largest {where}" for where in ("of the embeddings", "after block 0", "after block 1")
    ]


def test_panels_of_equal_sets_have_the_settings_that_distinguish_them() -> None:
    row = {"base_model": "t", "base_model_id": "m", "kind": "translation", "source_language": "hi", "profile": None}
    row |= {
        "target_language": "en",
        "seed": 0,
        "depth": 0,
        "feature": 1,
        "magnitude": 1.0,
        "demonstration_label": "hi-en",
    }
    shared = "budget of 8000 tokens"
    pairs = [("a", shared), ("b", f"unpaired, {shared}")]
    rows = [{**row, "demonstration_set_id": name, "settings": settings} for name, settings in pairs]
    rows.append({**row, "source_language": "sw", "demonstration_set_id": "c", "settings": shared})
    (group,) = magnitude_panels(rows)
    titles = [panel.label.partition(";")[0].removeprefix("Largest features on ") for panel in group.panels]
    assert titles == ["hi-en · translation", "hi-en · translation, unpaired", "sw-en · translation"]
