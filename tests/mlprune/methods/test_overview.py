"""The overview of methods has a row for every method, and loads plug-ins only if asked."""

import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from pydantic import ValidationError

from mlprune.methods import AGGREGATIONS, REFINERS, SCHEDULES, SCORES, STRUCTURES
from mlprune.methods.overview import BUILT_IN, NOT_LOADED, CombinationRow, combinations, cost_words, method_rows
from mlprune.recipe import VariantConfig
from tests.plugin_packages import CUBIC, on_path, write_distribution


def test_every_built_in_method_has_a_row_with_a_cost() -> None:
    registries = {
        "score": SCORES,
        "structure": STRUCTURES,
        "schedule": SCHEDULES,
        "refiner": REFINERS,
        "aggregation": AGGREGATIONS,
    }
    rows = [row for row in method_rows() if row.source == BUILT_IN]
    assert [(row.kind, row.name) for row in rows] == [
        (kind, name) for kind, registry in registries.items() for name in registry
    ]
    assert all(row.cost and row.summary for row in rows)
    by_name = {row.name: row for row in rows}
    assert by_name["ria"].parameters == "power=0.5"
    assert by_name["wanda"].needs == by_name["owl"].needs == "squares"


def test_costs_follow_from_what_a_method_reads() -> None:
    assert cost_words(SCORES["magnitude"]) == "no statistics"
    assert "forward pass" in cost_words(SCORES["wanda"])
    assert "forward pass" in cost_words(SCHEDULES["owl"])
    assert "Gram matrix" in cost_words(SCORES["sparsegpt"])
    assert "new weights" in cost_words(SCORES["sparsegpt"])
    assert cost_words(STRUCTURES["alpha"]) == "one ordering per sparsity"


@pytest.mark.parametrize("loads", [False, True])
def test_plugins_are_listed_from_metadata_and_loaded_if_asked(tmp_path: Path, loads: bool) -> None:
    with on_path(tmp_path) as site:
        names = {"cubic": "cubic_rows:CUBIC", "broken": "cubic_rows:MISSING", "wanda": "cubic_rows:CUBIC"}
        write_distribution(site, {"cubic_rows.py": CUBIC}, {"mlprune.scores": names})
        rows = {row.name: row for row in method_rows(loads=loads) if row.source == "cubic-scores 1.0"}
        assert ("cubic_rows" in sys.modules) == loads
    assert set(rows) == set(names)
    assert "refused" in str(rows["wanda"].summary)
    if loads:
        assert rows["cubic"].formula == "|W[i, j]| ** power * max(floor, ||X_j||_2)"
        assert rows["cubic"].parameters == "power=3.0, floor=0.0"
        assert "refused" in str(rows["broken"].summary)
    else:
        assert rows["cubic"].summary == rows["broken"].summary == NOT_LOADED


def accepted(**keys: object) -> bool:
    """Whether a recipe accepts an entry over two sets at half sparsity."""
    score = SCORES[str(keys["score"])]
    contrast = {"contrast": "code"} if score.has_contrast else {}
    entry = {"sparsity": 0.5, "propagation": "dense", **contrast, **keys}
    if keys["score"] == "given":
        entry |= {"sparsity": None, "scope": {"blocks": [0]}}
    if ":" in str(entry.get("structure")):
        del entry["sparsity"]
    if "over" not in entry:
        entry["demonstrations"] = "mt"
    try:
        VariantConfig.model_validate(entry)
    except ValidationError:
        return False
    return True


def listed(cell: str, names: Iterable[str]) -> set[str]:
    """The names that a cell of the table stands for."""
    without = cell.removeprefix("all but ")
    if cell == "all":
        return set(names)
    return set(names) - set(without.split(", ")) if without != cell else set(cell.split(", ")) & set(names)


@pytest.mark.parametrize("row", combinations(), ids=lambda row: row.score)
def test_a_recipe_accepts_exactly_the_combinations_of_the_table(row: CombinationRow) -> None:
    score = row.score
    patterns = {name: "2:4" if name == "N:M" else name for name in STRUCTURES}
    structures = {name for name, one in patterns.items() if accepted(score=score, structure=one)}
    assert structures == set(row.structures.split(", "))
    assert row.structures.split(", ")[0] == SCORES[score].structures[0]
    given = {"given": {"blocks": {0: 0.25}}}
    given |= {kind: {"kind": kind, "from": "x"} for kind in ("sensitivity", "search")}
    schedules = {name for name in SCHEDULES if accepted(score=score, schedule=given.get(name, name))}
    assert schedules == listed(row.schedules, SCHEDULES)
    assert {name for name in REFINERS if accepted(score=score, refine=name)} == listed(row.refiners, REFINERS)
    if row.aggregations == "-":
        assert not any(accepted(score=score, over=["mt", "mono"], aggregate=name) for name in AGGREGATIONS)
        return
    refiner = {} if SCORES[score].needs else {"refine": "gram_swaps"}
    over = {"score": score, "over": ["mt", "mono"], **refiner}
    aggregations = {name for name in AGGREGATIONS if accepted(**over, aggregate=name)}
    assert aggregations == (set(AGGREGATIONS) if refiner else listed(row.aggregations, AGGREGATIONS))
    assert (row.aggregations == "with a refiner") == bool(refiner)


def test_the_page_has_the_same_table() -> None:
    lines = (Path(__file__).parents[3] / "docs" / "scores.md").read_text("utf-8").splitlines()
    for row in combinations():
        assert f"| {' | '.join((f'`{row.score}`', *row.values[1:]))} |" in lines
