"""Declarations: which results make a question exploratory, and which declarations are kept."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlprune.planning import Plan
from mlprune.steps.evaluate.model_evaluation import EvaluateJob
from mlprune.steps.questions.declarations import declarations, dropped_questions
from mlprune.steps.questions.declaring_records import declaration_problems
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
    if stated := changes.pop("question_seeds", None):
        changes["seeds"] = stated
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


def make_variants(plan: Plan, store: Store, *, mask: str | None = None) -> Plan:
    """Write the records of the base model and of all variants, with masks that no file has.

    Args:
        mask: hash of the masks of all variants; by default they are different.
    """
    for variant in plan.variants.values():
        sha256 = None if variant.is_dense else mask or variant.id
        store.write_record(variant.spec.identity.record(rows={"variants": [{"mask_sha256": sha256}]}))
    store.write_record(plan.questions[0].identities[plan.model.base_model_id].record())
    return plan


def finish(plan: Plan, store: Store, *, mask: str | None = None) -> None:
    """Write every evaluation of a plan, with its items, variants and base model, without predictions and masks."""
    make_variants(plan, store, mask=mask)
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


def of_sparsities(folder: Path, *sparsities: float) -> Plan:
    variants = [{"name": "random", "score": "magnitude", "sparsity": list(sparsities)}]
    return plan_of(folder, MARGIN, variants=variants, evaluations=[FACTS])


def test_a_family_may_grow_but_not_shrink_after_its_results(tiny_inputs: Path, tmp_path: Path) -> None:
    store, plan = Store(str(tmp_path)), of_sparsities(tiny_inputs, 0.25, 0.5)
    start(plan, store)
    finish(plan, store)
    more = of_sparsities(tiny_inputs, 0.25, 0.5, 0.75)
    assert declared(record_in(more, store)) == (0, False)  # its masks have to be compared first
    assert declared(start(make_variants(more, store), store)) == (0, True)
    assert declared(start(of_sparsities(tiny_inputs, 0.25), store)) == (2, False)


def test_a_question_that_awaits_masks_does_not_depend_on_those_that_exist(tiny_inputs: Path, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    finish(planned(tiny_inputs, seeds=[7]), store)
    plan = planned(tiny_inputs)
    first = record_in(plan, store)
    (question,) = [row for row in first.rows["questions"] if row["is_declared"]]
    assert (question["awaits_masks"], question["is_primary"]) == (True, False)
    make_variants(planned(tiny_inputs, seeds=[0]), store)
    assert record_in(plan, store) == first
    assert declared(record_in(make_variants(plan, store), store)) == (0, True)


def seeds_declared(record: Record) -> tuple[object, object]:
    (row,) = [row for row in record.rows["questions"] if row["is_declared"]]
    return row.get("n_seeds_declared"), row["is_primary"]


def test_seeds_that_are_added_after_the_results_make_the_answer_exploratory(tiny_inputs: Path, tmp_path: Path) -> None:
    store, plan = Store(str(tmp_path)), planned(tiny_inputs)
    start(plan, store)
    finish(plan, store)
    for seeds in ([0, 1, 2], [0, 1, 2, 3]):
        more = planned(tiny_inputs, seeds=seeds)
        assert seeds_declared(start(more, store)) == (2, False)
        finish(more, store)
    assert seeds_declared(start(plan, store)) == (None, True)


def test_an_answer_waits_for_the_declared_number_of_seeds(tiny_inputs: Path, tmp_path: Path) -> None:
    store, stated = Store(str(tmp_path)), {"question_seeds": 3}
    few = planned(tiny_inputs, **stated)
    assert seeds_declared(start(few, store)) == (3, False)
    finish(few, store)
    assert seeds_declared(record_in(planned(tiny_inputs), store)) == (3, False)
    assert seeds_declared(record_in(planned(tiny_inputs, seeds=[0, 1, 2, 3], **stated), store)) == (3, False)
    whole = planned(tiny_inputs, seeds=[0, 1, 2], **stated)
    assert seeds_declared(start(make_variants(whole, store), store)) == (None, True)
    finish(whole, store)
    assert seeds_declared(start(whole, store)) == (None, True)


def test_seeds_may_change_as_long_as_nothing_was_evaluated(tiny_inputs: Path, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    start(planned(tiny_inputs), store)
    assert seeds_declared(record_in(planned(tiny_inputs, seeds=[0, 1, 2]), store)) == (None, True)


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
    plan = make_variants(limited(tiny_inputs, 4), store)
    assert declared(record_in(plan, store)) == (0, True)


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


def copied_inputs(folder: Path, target: Path) -> Path:
    """Inputs whose model has one more key in its config."""
    shutil.copytree(folder, target)
    config = target / "model" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "note": "a copy"}))
    return target


def test_a_copy_of_the_model_with_another_config_is_not_new(tiny_inputs: Path, tmp_path: Path) -> None:
    store, copy = Store(str(tmp_path / "store")), copied_inputs(tiny_inputs, tmp_path / "inputs")
    finish(planned(tiny_inputs), store)
    plan = planned(copy)
    assert not {pair[0] for pair in plan.questions[0].pairs} & {
        pair[0] for pair in planned(tiny_inputs).questions[0].pairs
    }
    assert declared(record_in(plan, store)) == (4, False)


def test_another_dtype_makes_no_variant_new(tiny_inputs: Path, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    finish(planned(tiny_inputs), store)
    variants, model = [{**RANDOM, "seed": [0, 1]}], {"path": "model", "dtype": "bfloat16"}
    plan = plan_of(tiny_inputs, MARGIN, variants=variants, evaluations=[FACTS], model=model)
    assert declared(record_in(plan, store)) == (4, False)


def known_baselines(record: Record) -> list[object]:
    return [row.get("n_known_baselines") for row in record.rows["question_variants"]]


def against(folder: Path, baseline: list[int], *, looked_at: list[int], **changes: Any) -> Plan:
    """A question about a magnitude variant against random variants, of which others are in the same recipe."""
    variants = [
        {"name": "magnitude", "score": "magnitude", "sparsity": 0.5, "against": ["random"]},
        {**RANDOM, "seed": baseline},
        *([{**RANDOM, "name": "others", "seed": looked_at}] if looked_at else []),
    ]
    question = {**QUESTION, "variants": "magnitude", "against": "random", **changes}
    return plan_of(folder, question, variants=variants, evaluations=[FACTS])


def finish_only(plan: Plan, store: Store, *entries: str) -> None:
    """Write what `finish` does without the evaluations of other entries."""
    finish(plan, store)
    for record in list(store.records("evaluations")):
        variant = plan.variants[str(record.parents["variant"])]
        if not {entry.name for entry in variant.entries} & set(entries):
            (store.local_root / record.path).unlink()  # type: ignore[operator]


def test_the_baselines_that_had_results_are_counted(tiny_inputs: Path, tmp_path: Path) -> None:
    store, plan = Store(str(tmp_path)), against(tiny_inputs, [0], looked_at=[1, 2, 3])
    assert known_baselines(record_in(plan, store)) == [None]
    finish_only(plan, store, "random", "others")
    record = record_in(plan, store)
    assert (known_baselines(record), declared(record)) == ([4], (0, True))
    everyone = against(tiny_inputs, [0, 1, 2, 3], looked_at=[])
    assert known_baselines(record_in(everyone, store)) == [1, 1, 1, 1]
    assert known_baselines(record_in(against(tiny_inputs, [9], looked_at=[]), store)) == [None]


def edit(store: Store, record: Record) -> Path:
    """Change the file of a record without its checksum."""
    path = Path(store.uri) / record.path
    path.write_text(path.read_text().replace('"checksum":"', '"checksum":"0', 1))
    return path


@pytest.mark.parametrize("is_quarantined", [False, True])
def test_results_of_damaged_and_quarantined_records_count(
    tiny_inputs: Path, tmp_path: Path, *, is_quarantined: bool
) -> None:
    store, plan = Store(str(tmp_path)), planned(tiny_inputs)
    finish(plan, store)
    for record in list(store.records("evaluations")):
        edit(store, record)
        if is_quarantined:
            assert Store(store.uri, quarantine=True).read_record(record.kind, record.id) is None
    assert declared(record_in(plan, store)) == (4, False)


def test_results_of_a_variant_whose_record_is_gone_count_for_each_variant(tiny_inputs: Path, tmp_path: Path) -> None:
    store, plan = Store(str(tmp_path)), planned(tiny_inputs, seeds=[0])
    finish(plan, store)
    (variant_id,) = (variant.id for variant in plan.variants.values() if not variant.is_dense)
    edit(store, store.require("variants", variant_id))
    other = make_variants(planned(tiny_inputs, seeds=[1]), store)
    assert declared(record_in(other, store)) == (2, False)


def test_the_seeds_of_a_damaged_declaration_count_against_a_question(tiny_inputs: Path, tmp_path: Path) -> None:
    store, plan = Store(str(tmp_path)), planned(tiny_inputs)
    first = start(plan, store)
    finish(plan, store)
    more = planned(tiny_inputs, seeds=[0, 1, 2])
    edit(store, first)
    assert seeds_declared(record_in(more, store)) == (2, False)
    assert seeds_declared(record_in(plan, store)) == (None, False), "the results exist, and nothing sound declared it"
    assert dropped(planned(tiny_inputs, seeds=[0]), store) == ["q"]


def test_a_declaration_whose_rows_were_edited_makes_no_question_primary(tiny_inputs: Path, tmp_path: Path) -> None:
    store, plan = Store(str(tmp_path)), planned(tiny_inputs)
    finish(plan, store)
    late, in_time = start(plan, store), record_in(plan, Store(str(tmp_path / "other")))
    store.write_record(replace(late, rows=in_time.rows))
    assert record_in(plan, store) == late
    broken = {**late.rows, "question_variants": [{"question_id": plan.questions[0].id}]}
    assert list(declaration_problems(replace(late, rows=broken)))


def test_languages_that_were_looked_at_are_named(tiny_inputs: Path, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    finish(planned(tiny_inputs, evaluations=[{**FACTS, "languages": ["fr"]}], languages="fr"), store)
    record = record_in(planned(tiny_inputs, evaluations=[{**FACTS, "languages": ["en", "sw"]}], languages="sw"), store)
    (row,) = [row for row in record.rows["questions"] if row["is_declared"]]
    assert (row["other_languages"], row["is_primary"]) == ("fr", True)


def test_rows_that_differ_from_the_parameters_of_a_declaration_are_found(tiny_inputs: Path, tmp_path: Path) -> None:
    store, plan = Store(str(tmp_path)), planned(tiny_inputs)
    finish(plan, store)
    late, in_time = record_in(plan, store), record_in(plan, Store(str(tmp_path / "other")))
    assert not [*declaration_problems(late), *declaration_problems(in_time)]
    edited = replace(late, rows=in_time.rows)
    assert len(list(declaration_problems(edited))) == 1
    (row,) = [row for row in late.rows["questions"] if row["is_declared"]]
    others = [each for each in late.rows["questions"] if each is not row]
    for change in ({"is_primary": True}, {"declared_after": 0}, {"name": "other"}):
        assert list(declaration_problems(replace(late, rows={**late.rows, "questions": [{**row, **change}, *others]})))
