from typing import Any

import pytest

from catalog.report.panels.cost import MAX_RUNS, cost_bars
from catalog.report.query_results import run_report_query
from catalog.store import Catalog
from tests.catalog.report.rows import drawn, texts


def step(name: str, **more: Any) -> dict[str, Any]:
    row = {"run_id": "run", "step": name, "elapsed_s": 1234.5, "peak_memory_gib": 0.5, "tokens_per_s": None}
    return row | {"n_jobs": 3, "n_tries": 4, "median_s": 2.5, "first_s": 40.0} | more


def test_costs_are_those_of_finished_jobs(catalog: Catalog) -> None:
    (row,) = run_report_query(catalog, "cost_by_step").rows
    assert (row["step"], row["n_jobs"]) == ("prune", 3)
    assert row["elapsed_s"] == pytest.approx(1.5 + 2.5 + 3.5)
    assert (row["longest_s"], row["median_s"]) == (3.5, 2.5)
    assert row["n_tries"] >= row["n_jobs"]
    assert row["tokens_per_s"] is None


def test_time_memory_and_tokens_have_a_panel_each_if_there_are_values() -> None:
    (group,) = cost_bars([step("prune"), step("evaluate", tokens_per_s=2000.0)])
    assert [panel.label for panel in group.panels] == [
        "seconds of all jobs: prune 1,234, evaluate 1,234",
        "median seconds of a job: prune 2.5, evaluate 2.5",
        "largest memory of a job, GiB: prune 0.5, evaluate 0.5",
        "tokens per second: evaluate 2,000",
    ]
    assert {"prune (3, 4 tries)", " 2,000"} <= set(texts(drawn(group.panels[3])))
    assert " 2.5, first 40" in texts(drawn(group.panels[1]))
    (without,) = cost_bars([step("prune")])
    assert len(without.panels) == 3


def test_of_many_runs_an_even_selection_is_drawn() -> None:
    groups = cost_bars([step("prune", run_id=f"run {n}") for n in range(MAX_RUNS + 3)])
    assert len(groups) == MAX_RUNS
    assert groups[-1].title == f"run {MAX_RUNS + 2}, {MAX_RUNS} of {MAX_RUNS + 3} runs drawn"
