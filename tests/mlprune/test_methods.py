"""Registries of methods: functions for all entries, released defaults, and parameters that change no id."""

from dataclasses import dataclass, fields
from typing import Any

import pytest

from mlprune import methods
from mlprune.hashing import digest
from mlprune.methods import AGGREGATIONS, REFINERS, SCHEDULES, SCORES, STRUCTURES, RiaParameters, Score, parameter
from mlprune.numeric.activations.aggregation import AGGREGATION_FUNCTIONS
from mlprune.numeric.refinement.registry import REFINER_FUNCTIONS
from mlprune.numeric.selection.levels import LEVEL_FUNCTIONS
from mlprune.numeric.weights.alps import RECONSTRUCTION_FUNCTIONS
from mlprune.numeric.weights.scores import SCORE_FUNCTIONS
from mlprune.pruning.schedules import SCHEDULE_FUNCTIONS
from mlprune.pruning.spec import ScoreSpec
from mlprune.store.record_kinds import RECORD_KINDS


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
    assert without == {"magnitude", "random", "block_influence", "given"}
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
