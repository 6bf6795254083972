"""Agreement of languages about sensitive units: which correlations the report shows."""

from typing import Any

from catalog.capabilities.sensitivity.panels import agreement_matrices
from catalog.report.figure_export import split_group
from catalog.report.query_results import run_report_query
from catalog.store import Catalog
from tests.catalog.report.rows import TASK, grid

ROW: dict[str, Any] = {**TASK, "sensitivity_id": "s", "unit_kind": "block", "sparsity": 0.5, "n_units": 12}
ROW |= {"other_language": "en", "corrected": 0.6, "ci_low": -0.2, "ci_high": 0.9}
TOO_FEW = {**ROW, "n_units": 9, "corrected": None, "ci_low": None, "ci_high": None}


def test_the_query_has_no_correlation_of_fewer_than_ten_units(catalog: Catalog) -> None:
    rows = run_report_query(catalog, "sensitivity_agreement").rows
    few = [row for row in rows if row["n_units"] < 10]
    assert 0 < len(few) < len(rows)
    columns = ("corrected", "rank_correlation", "ci_low", "ci_high")
    assert {row[column] for row in few for column in columns} == {None}
    assert None not in {row[column] for row in rows if row not in few for column in columns}


def test_correlations_of_enough_units_have_a_matrix_and_others_a_reason() -> None:
    (shown,) = agreement_matrices([ROW])
    assert list(grid(shown.panels[0]).values.values()) == [0.6]
    assert not shown.note
    (mixed,) = agreement_matrices([ROW, {**TOO_FEW, "language": "sw"}])
    assert grid(mixed.panels[0]).rows == ("fr",)
    assert "fewer than ten units" in mixed.note
    (few,) = agreement_matrices([TOO_FEW])
    assert (few.panels, few.legend) == ((), ())
    assert few.note == mixed.note


def test_a_group_without_panels_has_no_figure_file() -> None:
    (few,) = agreement_matrices([TOO_FEW])
    assert split_group(few) == []
