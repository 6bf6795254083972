"""Which demonstration sets a recipe comes to."""

import copy
from pathlib import Path
from typing import Any

import pytest

from mlprune.corpus.demonstrations import chosen_lines
from mlprune.errors import CorpusError, RecipeError
from mlprune.plan.sets import PlannedSet, plan_sets
from mlprune.recipe import parse_recipe
from mlprune.steps.inputs import gather
from tests.tiny_recipes import tiny_recipe

MT: dict[str, Any] = tiny_recipe()["demonstrations"][0]


def planned(
    folder: Path,
    demonstrations: list[dict[str, Any]],
    *,
    evaluated: frozenset[int] = frozenset(),
    leave_out: bool = False,
) -> dict[str, tuple[PlannedSet, ...]]:
    recipe = {key: value for key, value in tiny_recipe().items() if key not in ("variants", "evaluations")}
    recipe["corpus"]["leave_out_evaluated"] = leave_out
    recipe["demonstrations"] = copy.deepcopy(demonstrations)
    parsed = parse_recipe(recipe, folder=folder)
    return plan_sets(parsed, gather(parsed), evaluated=evaluated)


def the_set(folder: Path, **changes: Any) -> PlannedSet:
    (one,) = planned(folder, [{**MT, "source": "fr", **changes}])["mt"]
    return one


def test_a_multiplied_entry_is_several_sets_of_one_name_with_labels(tiny_inputs: Path) -> None:
    sets = planned(tiny_inputs, [{**MT, "seed": [0, 1]}])["mt"]
    assert [one.label for one in sets] == ["fr-en", "fr-en seed 1", "sw-en", "sw-en seed 1"]
    assert len({one.id for one in sets}) == len({one.observe.identity.id for one in sets}) == 4


@pytest.mark.parametrize("change", [{"shots": 3}, {"samples": 5}, {"max_tokens": 40}, {"seed": 1}, {"target": "sw"}])
def test_everything_that_was_chosen_is_in_the_id(tiny_inputs: Path, change: dict[str, Any]) -> None:
    assert the_set(tiny_inputs, **change).id != the_set(tiny_inputs).id


def test_the_name_is_not_in_the_id(tiny_inputs: Path) -> None:
    (other,) = planned(tiny_inputs, [{**MT, "source": "fra_Latn", "name": "other"}])["other"]
    assert other.id == the_set(tiny_inputs).id


def test_a_code_set_has_no_shots_and_no_corpus_in_its_id(own_inputs: Path) -> None:
    code = tiny_recipe()["demonstrations"][2]
    (first,) = planned(own_inputs, [code])["code"]
    (own_inputs / "corpus" / "fr.txt").write_text("x\n")
    (second,) = planned(own_inputs, [{**code, "shots": 9}], evaluated=frozenset({1}), leave_out=True)["code"]
    assert first.id == second.id
    assert (first.spec.shots, first.label) == (None, "code")
    for file in (own_inputs / "code").iterdir():
        file.write_text("y = 1\n")
    (third,) = planned(own_inputs, [code])["code"]
    assert third.id != first.id


def test_mixed_sets_may_be_parts_of_mixed_sets_in_any_order(tiny_inputs: Path) -> None:
    code = tiny_recipe()["demonstrations"][2]
    outer = {"name": "outer", "kind": "mixed", "parts": ["inner", "code"]}
    inner = {"name": "inner", "kind": "mixed", "parts": ["mt"], "shares": "equal"}
    sets = planned(tiny_inputs, [outer, inner, MT, code])
    assert sets["outer"][0].job.needs == tuple(one.identity.key for one in (*sets["inner"], *sets["code"]))
    assert sets["inner"][0].job.needs == tuple(one.identity.key for one in sets["mt"])
    assert (sets["inner"][0].spec.samples, sets["outer"][0].spec.samples) == (8, 12)
    names = list(sets)
    assert names.index("outer") > names.index("inner") > names.index("mt")


def test_shares_and_seed_of_a_mixed_set_are_in_its_id(tiny_inputs: Path) -> None:
    mixed = {"name": "mixed", "kind": "mixed", "parts": ["mt"]}
    ids = {
        planned(tiny_inputs, [MT, {**mixed, **change}])["mixed"][0].id
        for change in ({}, {"shares": "equal"}, {"seed": 1})
    }
    assert len(ids) == 3


def test_mixed_sets_in_a_circle_are_an_error(tiny_inputs: Path) -> None:
    circle = [{"name": a, "kind": "mixed", "parts": [b]} for a, b in (("a", "b"), ("b", "a"))]
    with pytest.raises(RecipeError, match="circle") as caught:
        planned(tiny_inputs, [MT, *circle])
    assert caught.value.context["names"] == ["a", "b"]


def test_sentences_under_evaluation_are_refused_or_left_out(tiny_inputs: Path) -> None:
    every_other = frozenset(range(0, 40, 2))
    with pytest.raises(RecipeError, match="an evaluation uses") as caught:
        planned(tiny_inputs, [MT], evaluated=every_other)
    assert "leave_out_evaluated" in str(caught.value)
    for one in planned(tiny_inputs, [MT], evaluated=every_other, leave_out=True)["mt"]:
        assert set(one.spec.left_out) == every_other
    with pytest.raises(CorpusError, match="too short"):
        planned(tiny_inputs, [MT], evaluated=frozenset(range(33)), leave_out=True)
    shown = {line for chosen in chosen_lines(40, shots=2, samples=4, seed=0) for line in chosen}
    others = frozenset(range(40)) - shown
    assert planned(tiny_inputs, [MT], evaluated=others)["mt"][0].spec.left_out == ()


def test_a_corpus_or_folder_without_what_a_set_needs_is_found_while_planning(own_inputs: Path) -> None:
    for change, message in (
        ({"source": "es"}, "no such language"),
        ({"samples": 21}, "too short"),
    ):
        with pytest.raises(CorpusError, match=message):
            planned(own_inputs, [{**MT, **change}])
    code = tiny_recipe()["demonstrations"][2]
    for change, message in (({"samples": 7}, "too few"), ({"path": "facts"}, "no code")):
        with pytest.raises(CorpusError, match=message):
            planned(own_inputs, [{**code, **change}])


def test_a_language_without_a_name_is_found_while_planning(own_inputs: Path) -> None:
    (own_inputs / "corpus" / "qqx.txt").write_text((own_inputs / "corpus" / "fr.txt").read_text())
    with pytest.raises(CorpusError, match="no name for a language"):
        planned(own_inputs, [{**MT, "source": "qqx"}])
