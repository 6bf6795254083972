"""Declarations of questions: before or after their results existed."""

from pathlib import Path
from typing import Any

from mlprune.plan import Plan
from mlprune.steps.evaluate.jobs import EvaluateJob
from mlprune.steps.job import make_identity
from mlprune.steps.questions.declarations import declarations
from mlprune.store.record_kinds import RECORD_KINDS
from mlprune.store.records import Record, identity
from mlprune.store.store import Store
from tests.mlprune.steps.questions.test_plan import QUESTION, plan_of

RANDOM: dict[str, Any] = {"name": "random", "score": "random", "sparsity": 0.5}
MARGIN: dict[str, Any] = {**QUESTION, "variants": "random", "claim": "noninferior", "margin": 0.02}


def planned(folder: Path, *, seeds: list[int] | None = None, **changes: Any) -> Plan:
    variants = [{**RANDOM, "seed": seeds or [0, 1]}]
    return plan_of(folder, {**MARGIN, **changes}, variants=variants)


def record_in(plan: Plan, store: Store) -> Record:
    return plan.record_with(declarations(plan.questions, store))


def start(plan: Plan, store: Store) -> Record:
    """The record that a run writes before its first job."""
    record = record_in(plan, store)
    store.write_record(record)
    return record


def finish(plan: Plan, store: Store) -> None:
    """Write every evaluation of a plan, without content."""
    for evaluation in (one for job in plan.jobs if isinstance(job, EvaluateJob) for one in job.evaluations):
        store.write_record(evaluation.identity.record())


def declared(record: Record) -> tuple[object, object]:
    (row,) = [row for row in record.rows["questions"] if row["is_declared"]]
    return row["declared_after"], row["is_primary"]


def test_a_question_that_is_declared_before_the_run_is_primary(tiny_inputs: Path, tmp_path: Path) -> None:
    store, plan = Store(str(tmp_path)), planned(tiny_inputs)
    record = start(plan, store)
    assert declared(record) == (0, True)
    assert record == plan.record


def test_a_resumed_run_keeps_its_declaration(tiny_inputs: Path, tmp_path: Path) -> None:
    store, plan = Store(str(tmp_path)), planned(tiny_inputs)
    first = start(plan, store)
    finish(plan, store)
    assert start(plan, store) == first


def test_a_margin_that_is_chosen_after_the_results_is_exploratory_for_good(tiny_inputs: Path, tmp_path: Path) -> None:
    store, plan = Store(str(tmp_path)), planned(tiny_inputs)
    start(plan, store)
    finish(plan, store)
    other = planned(tiny_inputs, margin=0.03)
    record = start(other, store)
    assert declared(record) == (4, False)  # two variants in two languages
    assert start(other, store) == record
    assert declared(start(plan, store)) == (0, True)


def test_a_new_name_does_not_make_a_question_new(tiny_inputs: Path, tmp_path: Path) -> None:
    store, plan = Store(str(tmp_path)), planned(tiny_inputs)
    start(plan, store)
    finish(plan, store)
    assert declared(start(planned(tiny_inputs, name="renamed"), store)) == (0, True)


def test_a_family_may_grow_but_not_shrink_after_its_results(tiny_inputs: Path, tmp_path: Path) -> None:
    store, plan = Store(str(tmp_path)), planned(tiny_inputs)
    start(plan, store)
    finish(plan, store)
    assert declared(start(planned(tiny_inputs, seeds=[0, 1, 2]), store)) == (0, True)
    assert declared(start(planned(tiny_inputs, seeds=[0]), store)) == (2, False)


def test_only_the_new_variants_of_a_grown_family_are_counted(tiny_inputs: Path, tmp_path: Path) -> None:
    store, plan = Store(str(tmp_path)), planned(tiny_inputs)
    start(plan, store)
    finish(planned(tiny_inputs, seeds=[1, 2]), store)
    record = start(planned(tiny_inputs, seeds=[0, 1, 2]), store)
    assert declared(record) == (2, False)
    rows = record.rows["question_variants"]
    assert [row["declared_after"] for row in rows] == [0, 0, 2]


def test_results_of_an_earlier_version_of_the_step_count(tiny_inputs: Path, tmp_path: Path) -> None:
    store, plan = Store(str(tmp_path)), planned(tiny_inputs)
    evaluation = plan.questions[0].comparisons[0].pairs[0][0].identity
    fields = (evaluation.parameters, evaluation.parents, evaluation.contents)
    earlier = RECORD_KINDS["evaluations"].version - 1
    old = identity("evaluations", step_version=earlier, parameters=fields[0], parents=fields[1], contents=fields[2])
    store.write_record(Record("evaluations", old, earlier, *fields))
    language = plan.questions[0].comparisons[0].pairs[0][0].task.language
    assert declared(record_in(plan, store))[0] == int(language in plan.questions[0].languages)


def test_questions_that_are_not_declared_are_exploratory_and_have_no_number(tiny_inputs: Path) -> None:
    rows = [row for row in planned(tiny_inputs).record.rows["questions"] if not row["is_declared"]]
    assert {(row["declared_after"], row["is_primary"], row["name"]) for row in rows} == {(None, False, "")}


def test_a_recipe_without_questions_has_the_record_of_its_names(tiny_inputs: Path) -> None:
    plan = plan_of(tiny_inputs, evaluations=[])
    names = plan.record.parameters["names"]
    expected = make_identity("recipes", {"name": plan.recipe.name, "names": names})
    assert (plan.record.id, set(plan.record.rows)) == (expected.id, {"names"})
