"""The benchmark of the catalog runs: it folds records, answers while the file is locked, and times every query."""

from pathlib import Path

import pytest

from tests.benchmarks.catalog_scale import fold_figures, make_catalog, query_figures

pytestmark = pytest.mark.slow


def test_records_are_folded_and_answered_while_another_process_writes(tmp_path: Path) -> None:
    figures = fold_figures(tmp_path, 64)
    assert (figures["records"], figures["rows"]) == (64, 64 * 7)
    assert figures["rows_a_cpu_second"] > 0
    assert figures["answer_while_held_s"] > 0


def test_the_comparisons_of_the_synthetic_catalog_are_tests_and_its_queries_have_rows(tmp_path: Path) -> None:
    make_catalog(tmp_path, 400, memory_limit="1GB")
    figures = query_figures(tmp_path, repeat=1)
    assert (figures["variants"], figures["comparisons"]) == (400, 399 * 26)
    for name in ("significant_changes", "breaking_sparsity_by_language", "sparsity_curve_by_language", "english_cost"):
        assert figures["queries"][name]["rows"] > 0
