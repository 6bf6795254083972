"""The Grafana dashboard: every metric of it is exported, and every exported metric is in it."""

import json
import re
from pathlib import Path
from typing import Any

from ray_jobs.workers.run_metrics import METRICS, RUN_TAGS

DASHBOARD: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "infra" / "monitoring" / "grafana-dashboard.json").read_text(encoding="utf-8")
)
EXPRESSIONS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
EXPORTED = {spec.exported(name): spec for name, spec in METRICS.items()}


def metrics_of(expression: str) -> list[str]:
    return re.findall(r"ray_\w+", expression)


def test_the_dashboard_shows_exactly_the_metrics_that_are_exported() -> None:
    assert {name for expression in EXPRESSIONS for name in metrics_of(expression)} == EXPORTED.keys()


def test_expressions_group_and_select_by_tags_that_the_metrics_have() -> None:
    for expression in EXPRESSIONS:
        used = {*re.findall(r"(\w+)=~", expression), *re.findall(r"by \((\w+)\)", expression)}
        for name in metrics_of(expression):
            assert used <= {*RUN_TAGS, *EXPORTED[name].tags}, expression


def test_the_runs_to_choose_are_those_with_metrics() -> None:
    (variable,) = (one for one in DASHBOARD["templating"]["list"] if one["name"] == "run")
    assert variable["query"] == "label_values(ray_mlprune_workers, run)"


def test_panels_have_ids_and_positions_of_their_own() -> None:
    positions = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]]
    assert len(set(positions)) == len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
