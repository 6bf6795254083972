import pytest

from catalog.report.panels.languages.source_languages import MAX_SPARSITIES, source_heat_maps
from catalog.report.query_results import run_report_query
from catalog.store import Catalog
from tests.catalog.report.rows import METHOD, TASK, Rows, grid

CELL = {**TASK, **METHOD, "demonstration_label": "fr-en", "difference": 0.02, "n_variants": 2, "n_better": 0}
CELL |= {"n_worse": 0, "detectable_difference": 0.1}


def test_a_cell_is_the_paired_difference_of_the_variants_that_read_a_source(catalog: Catalog, rows: Rows) -> None:
    sets = {row["demonstration_set_id"]: row for row in rows["demonstration_sets"]}
    read = {row["variant_id"]: (row, sets.get(row["demonstration_set_id"])) for row in rows["variants"]}
    answer_rows = run_report_query(catalog, "sources_by_language").rows
    (cell,) = [
        row
        for row in answer_rows
        if (row["score"], row["propagation"], row["sparsity"]) == ("wanda", "dense", 0.3)
        and (row["demonstration_label"], row["language"]) == ("es-en", "sw")
    ]
    (compared,) = [
        row
        for row in catalog.query(
            "SELECT * FROM comparisons_to_dense WHERE metric = 'accuracy' AND split = 'test' AND language = 'sw'"
        )
        if (variant := read[row["variant_id"]])[1]
        and (variant[0]["score"], variant[0]["propagation"], variant[0]["sparsity"]) == ("wanda", "dense", 0.3)
        and (variant[1]["source_language"], variant[1]["target_language"]) == ("es", "en")
    ]
    assert cell["n_variants"] == 1
    assert cell["difference"] == pytest.approx(compared["difference"])
    assert (cell["ci_low"], cell["ci_high"]) == (compared["ci_low"], compared["ci_high"])
    assert cell["n_better"] == int(compared["p_holm"] < 0.05 and compared["difference"] > 0)
    assert not [row for row in answer_rows if row["score"] in ("random", "magnitude")]


def test_a_star_needs_every_seed_in_one_direction() -> None:
    marks = {"none": (0, 0), "one": (0, 1), "both": (2, 0)}
    rows = [{**CELL, "language": name, "n_better": up, "n_worse": down} for name, (up, down) in marks.items()]
    (group,) = source_heat_maps(rows)
    table = grid(group.panels[0])
    texts = {table.columns[across]: text for (_, across), text in table.texts.items()}
    assert texts == {"both": "+0.020*", "none": "+0.020", "one": "+0.020"}
    assert group.note.startswith("Of 3 cells 1 are significantly better than dense and 0 significantly worse.")
    assert group.note.endswith("A single test finds a true difference of 0.100 with a power of 80 %.")
    (alone,) = source_heat_maps([{**CELL, "n_variants": 1}])
    assert alone.note.endswith("All are conditional on one draw of demonstrations.")


def test_each_sparsity_has_a_colour_scale_of_its_own() -> None:
    rows = [{**CELL, "sparsity": level / 10, "difference": -level / 10} for level in range(1, MAX_SPARSITIES + 3)]
    groups = source_heat_maps(rows)
    assert len(groups) == MAX_SPARSITIES
    assert [grid(group.panels[0]).scale.high for group in groups] == [0.1, 0.3, 0.4, 0.6]
    assert f"{MAX_SPARSITIES} of {MAX_SPARSITIES + 2} sparsities drawn" in groups[0].title
