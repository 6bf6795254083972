"""Registries of methods, their overview, and the tree of errors."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mlprune import methods
from mlprune.hashing import digest
from mlprune.methods import AGGREGATIONS, REFINERS, SCHEDULES, SCORES, STRUCTURES, RiaParameters, Score, parameter
from mlprune.methods.overview import BUILT_IN, NOT_LOADED, CombinationRow, combinations, cost_words, method_rows
from mlprune.numeric.activations.aggregation import AGGREGATION_FUNCTIONS
from mlprune.numeric.refinement.registry import REFINER_FUNCTIONS
from mlprune.numeric.selection.levels import LEVEL_FUNCTIONS
from mlprune.numeric.weights.alps import RECONSTRUCTION_FUNCTIONS
from mlprune.numeric.weights.scores import SCORE_FUNCTIONS
from mlprune.pruning.schedules import SCHEDULE_FUNCTIONS
from mlprune.pruning.spec import ScoreSpec
from mlprune.recipe.variants import VariantConfig
from mlprune.store.record_kinds import RECORD_KINDS
from tests.plugin_packages import CUBIC, on_path, write_distribution


def test_every_registered_method_has_a_function() -> None:
    of_layers = {name for name, structure in STRUCTURES.items() if not structure.of_model}
    of_matrices = {name: score for name, score in SCORES.items() if set(score.structures) & of_layers}
    assert set(SCORE_FUNCTIONS) == {name for name, score in of_matrices.items() if not score.changes_weights}
    assert set(RECONSTRUCTION_FUNCTIONS) == {name for name, score in SCORES.items() if score.changes_weights}
    assert set(REFINER_FUNCTIONS) == set(REFINERS)
    assert {*LEVEL_FUNCTIONS, "N:M"} == of_layers
    assert set(SCHEDULE_FUNCTIONS) == set(SCHEDULES)
    assert set(AGGREGATION_FUNCTIONS) == set(AGGREGATIONS)
    assert set(REFINER_FUNCTIONS) == set(REFINERS)


def test_scores_without_demonstrations_need_no_statistics() -> None:
    without = {name for name, score in SCORES.items() if not score.needs}
    assert without == {"magnitude", "random", "block_influence", "sublayer_influence", "given"}
    assert {name for name, score in SCORES.items() if score.changes_weights} == {"sparsegpt", "alps"}


def test_released_defaults_change_only_together_with_a_step_version() -> None:
    registries = {"score": SCORES, "schedule": SCHEDULES, "aggregation": AGGREGATIONS, "refiner": REFINERS}
    defaults = {
        f"{kind} {name} {one.name}": one.default
        for kind, registry in registries.items()
        for name, method in registry.items()
        for one in fields(method.parameters)
    }
    assert defaults == {
        "score random seed": 0,
        **{
            f"score {name} {key}": value
            for name in ("contrast", "expert_use")
            for key, value in {"per": "token", "gate": True, "norm": 1}.items()
        },
        "score ria power": 0.5,
        "score flap equal_widths": False,
        "score flap head_power": 2.0,
        "score flap compensate": True,
        "score wanda_plus_plus alpha": 100.0,
        "score sparsegpt damping": 0.01,
        "score alps damping": 0.01,
        "score alps penalty": 0.1,
        "score alps max_iterations": 300,
        "score alps gradient_steps": 10,
        "schedule given blocks": (),
        "schedule given layers": (),
        "schedule given block_layers": (),
        "schedule owl m": 5.0,
        "schedule owl spread": 0.08,
        "schedule dlp statistic": "mean",
        "schedule dlp spread": 0.15,
        "schedule alpha_pruning cutoff": "peak",
        "schedule alpha_pruning spread": 0.3,
        "schedule sensitivity group": "outside_english",
        "schedule sensitivity spread": 0.08,
        "aggregation variance variance_weight": 1.0,
        "refiner gram_swaps swaps": 100,
        "refiner gram_swaps shortlist": 8,
        "refiner dsnot swaps": 50,
        "refiner dsnot threshold": 0.1,
        "refiner least_squares swaps": 0,
        "refiner least_squares ridge": 0.01,
    }
    assert {name: RECORD_KINDS[name].version for name in ("variants", "masks", "mask_blocks", "outliers")} == {
        "variants": 3,
        "masks": 3,
        "mask_blocks": 2,
        "outliers": 1,
    }


@dataclass(frozen=True)
class RiaWithAFloor(RiaParameters):
    """A later version of ria, with one more parameter."""

    floor: float | None = parameter(None, "smallest norm")


@pytest.mark.parametrize("parameters", [{"score": "ria"}, {"score": "ria", "score_parameters": {"power": 0.7}}])
def test_an_optional_parameter_changes_no_existing_id_and_old_records_load(
    parameters: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ScoreSpec.from_parameters(parameters)
    monkeypatch.setitem(SCORES, "ria", Score("ria", needs=("squares",), parameters=RiaWithAFloor))  # type: ignore[arg-type]
    after = ScoreSpec.from_parameters(parameters)
    assert isinstance(after.score_parameters, RiaWithAFloor)
    assert digest(after.parameters) == digest(before.parameters) == digest(parameters)
    other = ScoreSpec("ria", score_parameters=RiaWithAFloor(floor=0.1))
    assert other.parameters["score_parameters"] == {"floor": 0.1}
    assert ScoreSpec.from_parameters(other.parameters) == other


def test_methods_import_nothing_that_computes() -> None:
    assert not {"torch", "numpy", "pydantic"} & set(vars(methods))


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
