"""Choices as plain values: into an id and back, and in words."""

import json

import pytest

from mlprune.pruning.spec import Reading, Schedule, Scope, ScoreSpec

CHOICES = [
    ScoreSpec("wanda"),
    ScoreSpec("random", "matrix", seed=3, removes="highest", rounding="binary"),
    ScoreSpec("ria", power=0.25),
    ScoreSpec("sparsegpt", "2:4", damping=0.1),
    Reading(),
    Reading("target", first=3, resample_seed=0, aggregation="variance", variance_weight=2.0),
    Reading(aggregation="pooled", shares=(0.25, 0.75)),
    Schedule(),
    Schedule("given", blocks=((0, 0.25), (3, 0.5)), layers=(("fc1", 0.0),)),
    Schedule("owl", m=5.0, spread=0.08),
    Scope(),
    Scope((0, 2), ("fc1", "fc2")),
]


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_a_choice_comes_back_from_the_json_of_its_id(choice: ScoreSpec | Reading | Schedule | Scope) -> None:
    back = json.loads(json.dumps(choice.parameters))
    assert type(choice).from_parameters(back) == choice


def test_scores_and_readings_pass_over_the_other_parameters_of_a_variant() -> None:
    choice, read = ScoreSpec("ria", power=0.5), Reading("source")
    both = {**choice.parameters, **read.parameters, "sparsity": 0.5}
    assert (ScoreSpec.from_parameters(both), Reading.from_parameters(both)) == (choice, read)


def test_every_field_of_a_choice_is_in_its_parameters() -> None:
    for choice in CHOICES:
        assert set(choice.parameters) == set(type(choice).__dataclass_fields__)


@pytest.mark.parametrize(
    ("scope", "words"),
    [
        (Scope(), "all"),
        (Scope((0, 1, 2, 3, 5)), "blocks 0-3 5"),
        (Scope((4,)), "blocks 4"),
        (Scope((0, 2, 3)), "blocks 0 2-3"),
        (Scope((), ("fc1", "fc2")), "layers fc1 fc2"),
        (Scope((7, 9), ("fc1",)), "blocks 7 9; layers fc1"),
    ],
)
def test_a_scope_in_words(scope: Scope, words: str) -> None:
    assert scope.words == words


def test_a_scope_includes_what_both_its_parts_include() -> None:
    scope = Scope((1, 2), ("fc1",))
    found = {(block, layer) for block in range(4) for layer in ("fc1", "fc2") if scope.includes(block, layer)}
    assert found == {(1, "fc1"), (2, "fc1")}
    assert all(Scope().includes(block, "fc2") for block in range(3))
    assert [Scope((1,)).includes(block, "x") for block in (0, 1)] == [False, True]
