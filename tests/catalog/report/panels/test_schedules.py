from catalog.report.panels.schedules import MAX_VARIANTS, STYLES, schedule_panels
from catalog.report.query_results import run_report_query
from catalog.store import Catalog
from tests.catalog.report.rows import drawn


def test_schedules_are_drawn_with_the_values_that_they_read(methods_catalog: Catalog) -> None:
    parameters = {"variant_id": None, "schedule": None, "with_uniform": False}
    rows = run_report_query(methods_catalog, "layer_schedule", folder="queries", parameters=parameters).rows
    assert {row["schedule"] for row in rows} == {"owl", "dlp", "given"}
    (group,) = schedule_panels(rows)
    assert [key.label for key in group.legend] == [
        "wanda fr-en 0.5, dlp schedule",
        "wanda fr-en 0.5, given schedule, blocks [[0,0.25]]",
        "wanda fr-en 0.5, owl schedule, spread 0.1",
    ]
    assert len(group.panels) == 3
    assert "from 0.250 to 0.600 of a block, 3 variants" in drawn(group.panels[0])
    assert "Scores above 5 times the block" in drawn(group.panels[1])
    assert "from 0.0200 to 0.0600" in drawn(group.panels[1])
    assert "Mean score of a block: from 1.0000 to 3.0000" in drawn(group.panels[2])
    (given,) = schedule_panels([row for row in rows if row["schedule"] == "given"])
    assert len(given.panels) == 1


def test_of_many_schedules_as_many_lines_are_drawn_as_there_are_colours() -> None:
    row = {"base_model": "t", "base_model_id": "m", "score": "wanda", "structure": "row", "propagation": "sequential"}
    row |= {"demonstration_label": "fr", "settings": "given schedule", "sparsity": 0.5, "outliers_id": None}
    row |= {"block_values_id": None}
    rows = [
        {**row, "variant_id": f"v{n}", "label": f"variant {n}", "block": block, "removed_share": 0.5}
        for n in range(MAX_VARIANTS + 2)
        for block in (0, 1)
    ]
    (group,) = schedule_panels(rows)
    assert len({key.colour for key in group.legend}) == len(group.legend) == MAX_VARIANTS
    assert group.title == f"t, {MAX_VARIANTS} of {MAX_VARIANTS + 2} variants drawn, all of them in the data"


def test_schedules_differ_in_their_marks_too() -> None:
    looks = {(look.marker, look.is_hollow) for look in STYLES}
    assert len(looks) == len(STYLES) == MAX_VARIANTS
