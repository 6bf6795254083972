"""Specifications as plain values: into an id, and back from a record."""

import json

import pytest

from mlprune.methods import (
    GivenParameters,
    OwlParameters,
    RandomParameters,
    RiaParameters,
    SparseGptParameters,
    VarianceParameters,
)
from mlprune.pruning.spec import ScheduleSpec, Scope, ScoreSpec, StatisticsSelection

SPECS = [
    ScoreSpec("wanda"),
    ScoreSpec("random", "matrix", removes="highest", rounding="binary", score_parameters=RandomParameters(3)),
    ScoreSpec("ria", score_parameters=RiaParameters(0.25)),
    ScoreSpec("sparsegpt", "2:4", score_parameters=SparseGptParameters(0.1)),
    ScoreSpec("ria", "2:4", permute=True),
    StatisticsSelection(),
    StatisticsSelection(
        "target",
        n_demonstrations=3,
        resample_seed=0,
        aggregation="variance",
        aggregation_parameters=VarianceParameters(2.0),
    ),
    StatisticsSelection(aggregation="pooled", shares=(0.25, 0.75)),
    ScheduleSpec(),
    ScheduleSpec("given", GivenParameters(blocks=((0, 0.25), (3, 0.5)), layers=(("fc1", 0.0),))),
    ScheduleSpec("owl", OwlParameters(spread=0.1)),
    Scope(),
    Scope((0, 2), ("fc1", "fc2")),
]


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_a_specification_comes_back_from_the_json_of_its_id(
    spec: ScoreSpec | StatisticsSelection | ScheduleSpec | Scope,
) -> None:
    back = json.loads(json.dumps(spec.parameters))
    assert type(spec).from_parameters(back) == spec


def test_scores_and_selections_ignore_the_other_parameters_of_a_variant() -> None:
    score, selection = ScoreSpec("ria", score_parameters=RiaParameters(0.7)), StatisticsSelection("source")
    both = {**score.parameters, **selection.parameters, "sparsity": 0.5}
    assert (ScoreSpec.from_parameters(both), StatisticsSelection.from_parameters(both)) == (score, selection)


def test_defaults_are_not_parameters_of_an_id() -> None:
    assert ScoreSpec("ria", score_parameters=RiaParameters()).parameters == {"score": "ria"}
    assert ScoreSpec("random").parameters == {"score": "random"}
    assert StatisticsSelection(aggregation="variance").parameters == {"aggregation": "variance"}
    assert ScheduleSpec("owl").parameters == {"kind": "owl"}
    assert StatisticsSelection().parameters == ScheduleSpec().parameters == Scope().parameters == {}


def test_a_method_takes_its_own_parameters_and_no_others() -> None:
    assert ScoreSpec("ria").score_parameters == RiaParameters()
    with pytest.raises(TypeError):
        ScoreSpec("ria", score_parameters=SparseGptParameters())


def test_a_scope_includes_what_both_its_parts_include() -> None:
    scope = Scope((1, 2), ("fc1",))
    result = {(block, layer) for block in range(4) for layer in ("fc1", "fc2") if scope.includes(block, layer)}
    assert result == {(1, "fc1"), (2, "fc1")}
    assert all(Scope().includes(block, "fc2") for block in range(3))
    assert [Scope((1,)).includes(block, "x") for block in (0, 1)] == [False, True]
