"""Rows as queries of the report return them, and the content of a drawn panel."""

from typing import Any

from catalog.report.exhibits import Grid, Panel
from catalog.report.svg import to_svg

Rows = dict[str, list[dict[str, Any]]]

TASK: dict[str, Any] = {"base_model": "tiny", "base_model_id": "m", "task": "xnli", "split": "test"}
TASK |= {"scoring_rule": "mean", "example_limit": None, "language": "fr"}
METHOD: dict[str, Any] = {"score": "wanda", "set_kind": "translation", "propagation": "dense", "structure": "row"}
METHOD |= {"settings": None, "demonstration_label": None, "is_mean_over_pairs": True, "sparsity": 0.5}
POINT = {
    **TASK,
    **METHOD,
    "metric": "accuracy",
    "n_variants": 1,
    "n_significant": 1,
    "difference": -0.1,
    "ci_low": -0.2,
    "ci_high": 0.1,
}
POINT |= {"scale": "difference", "dense_value": 0.4, "chance": 0.174, "dense_limit": None}
DENSE = {**POINT, "score": None, "set_kind": None, "propagation": None, "structure": None, "sparsity": 0.0}
DENSE |= {"is_mean_over_pairs": False}


def drawn(panel: Panel | Grid) -> str:
    """The SVG of a panel."""
    assert isinstance(panel, Panel)
    return to_svg(panel, "here")


def grid(panel: Panel | Grid) -> Grid:
    """A panel that is a heat-map."""
    assert isinstance(panel, Grid)
    return panel


def texts(svg: str) -> list[str]:
    """Every text of an SVG."""
    return [part.partition("</text>")[0].rpartition(">")[2] for part in svg.split("<text")[1:]]
