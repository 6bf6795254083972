"""Declarations: which results make a question exploratory, and which declarations are kept."""

from pathlib import Path
from typing import Any

import pytest

from mlprune.plan import Plan
from mlprune.steps.evaluate.model_evaluation import EvaluateJob
from mlprune.steps.questions.declarations import declarations, dropped_questions
from mlprune.steps.tasks.evaluation import EvaluationSpec
from mlprune.steps.tasks.stored_items import items_identity, write_missing_items
from mlprune.store.record_kinds import RECORD_KINDS
from mlprune.store.records import Record, identity
from mlprune.store.store import Store
from tests.mlprune.steps.questions.test_asked import FACTS, QUESTION, plan_of

RANDOM: dict[str, Any] = {"name": "random", "score": "random", "sparsity": 0.5}
MARGIN: dict[str, Any] = {**QUESTION, "variants": "random", "claim": "noninferior", "margin": 0.02}


def planned(
    folder: Path, *, seeds: list[int] | None = None, evaluations: list[dict[str, Any]] | None = None, **changes: Any
) -> Plan:
    variants = [{**RANDOM, "seed": seeds or [0, 1]}]
    return plan_of(folder, {**MARGIN, **changes}, variants=variants, evaluations=evaluations or [FACTS])


def record_in(plan: Plan, store: Store) -> Record:
    return plan.record_with(declarations(plan.questions, store))


def start(plan: Plan, store: Store) -> Record:
    """The record that a run writes before its first job."""
    record = record_in(plan, store)
    store.write_record(record)
    return record


def evaluations_in(plan: Plan) -> list[EvaluationSpec]:
    return [one for job in plan.jobs if isinstance(job, EvaluateJob) for one in job.evaluations]


def finish(plan: Plan, store: Store) -> None:
    """Write every evaluation of a plan, with its items and without predictions."""
    evaluations = evaluations_in(plan)
    write_missing_items(store, evaluations)
    for evaluation in evaluations:
        items_id = items_identity(evaluation.task, evaluation.identity.contents).id
        store.write_record(evaluation.identity.record(rows={"evaluations": [{"items_id": items_id}]}))


def declared(record: Record) -> tuple[object, object]:
    (row,) = [row for row in record.rows["questions"] if row["is_declared"]]
    return row["declared_after"], row["is_primary"]


def test_a_question_that_is_declared_before_the_run_is_primary(tiny_inputs: Path, tmp_path: Path) -> None:
    store, plan = Store(str(tmp_path)), planned(tiny_inputs)
    record = start(plan, store)
    assert declared(record) == (0, True)
    assert record == plan.record
    question_id = plan.questions[0].id
    assert record.rows["recipe_questions"] == [{"recipe": plan.recipe.name, "question_id": question_id}]
    assert planned(tiny_inputs, primary=False).record.rows["recipe_questions"] == []


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


def limited(folder: Path, limit: int, **changes: Any) -> Plan:
    return planned(folder, evaluations=[{**FACTS, "limit": limit}], **changes)


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize(
    "changes",
    [
        {"evaluations": [{**FACTS, "limit": 5}]},
        {"evaluations": [{**FACTS, "limit": 4, "rule": "candidate_sum"}]},
        {"evaluations": [{**FACTS, "limit": 4, "languages": ["fr", "sw"]}]},
        {"name": "renamed", "evaluations": [{**FACTS, "limit": 5}]},
    ],
    ids=["one more item", "another rule", "another left-out evaluation", "another name"],
)
def test_what_shares_an_item_with_earlier_results_is_exploratory(
    tiny_inputs: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    store = Store(str(tmp_path))
    finish(limited(tiny_inputs, 4), store)
    record = start(planned(tiny_inputs, **changes), store)
    assert declared(record) == (4, False)
    (question,) = (row for row in record.rows["questions"] if row["is_declared"])
    earlier = store.require("evaluations", str(question["earlier_evaluation_id"]))
    assert earlier.parents["variant"] in {row["variant_id"] for row in record.rows["question_variants"]}
    assert start(planned(tiny_inputs, **changes), store) == record


def test_results_of_other_variants_or_of_the_baseline_do_not_count(tiny_inputs: Path, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    finish(limited(tiny_inputs, 4, seeds=[7, 8]), store)
    assert declared(record_in(limited(tiny_inputs, 4), store)) == (0, True)


def test_other_items_of_the_task_do_not_count(tiny_inputs: Path, tmp_path: Path) -> None:
    store, corpus = Store(str(tmp_path)), {**FACTS, "task": "perplexity", "path": "corpus", "limit": 4}
    dev, test = (
        planned(tiny_inputs, evaluations=[{**corpus, "split": split}], task="perplexity", split=split)
        for split in ("dev", "test")
    )
    finish(dev, store)
    assert declared(record_in(test, store)) == (0, True)
    finish(test, store)
    assert declared(record_in(test, store)) == (4, False)


def test_the_same_id_with_another_answer_is_another_item(tiny_inputs: Path, tmp_path: Path) -> None:
    store, plan = Store(str(tmp_path)), planned(tiny_inputs)
    finish(plan, store)
    for record in list(store.records("task_items")):
        columns = store.read_table(record.artefacts[0])
        wrong = {**columns, "is_gold": [not value for value in columns["is_gold"]], "candidate": columns["text"]}
        schema = dict.fromkeys(columns, "string") | {"candidate_index": "int32", "is_gold": "bool"}
        artefact = store.write_table(record.artefacts[0].path, {k: list(v) for k, v in wrong.items()}, schema)
        store.write_record(
            Record(
                record.kind,
                record.id,
                record.step_version,
                record.parameters,
                record.parents,
                record.contents,
                (artefact,),
                record.rows,
            )
        )
    assert declared(record_in(plan, store)) == (0, True)


def test_a_question_that_was_declared_as_exploratory_does_not_become_primary(tiny_inputs: Path, tmp_path: Path) -> None:
    store, plan = Store(str(tmp_path)), planned(tiny_inputs, primary=False)
    first = start(plan, store)
    finish(plan, store)
    assert start(plan, store) == first
    assert declared(start(planned(tiny_inputs), store)) == (4, False)


def dropped(plan: Plan, store: Store, *, recipe: str = "") -> list[str]:
    primary = [question for question in plan.questions if question.config]
    return dropped_questions(recipe or plan.recipe.name, primary, store)


def test_a_declaration_with_more_variants_or_other_languages_stays(tiny_inputs: Path, tmp_path: Path) -> None:
    store, plan = Store(str(tmp_path)), planned(tiny_inputs)
    start(plan, store)
    other_languages = [{**FACTS, "languages": ["en", "fr"]}]
    for changed in (planned(tiny_inputs, seeds=[0]), planned(tiny_inputs, evaluations=other_languages)):
        assert declared(record_in(changed, store)) == (0, True)
        assert dropped(changed, store) == ["q"]
        assert dropped(changed, store, recipe="another") == []
    for same in (plan, planned(tiny_inputs, name="renamed"), planned(tiny_inputs, seeds=[0, 1, 2])):
        assert dropped(same, store) == []
    assert dropped(planned(tiny_inputs, seeds=[0, 1, 2], name="renamed"), store) == ["q"]


def test_an_exploratory_declaration_is_not_kept(tiny_inputs: Path, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    start(planned(tiny_inputs, primary=False), store)
    assert dropped(planned(tiny_inputs, seeds=[0]), store) == []
