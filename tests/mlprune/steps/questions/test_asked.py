"""Planned questions: their comparisons, languages, seeds and ids."""

from pathlib import Path
from typing import Any

import pytest

from mlprune.errors import RecipeError
from mlprune.plan import Plan, build_plan
from mlprune.recipe import parse_recipe
from mlprune.steps.evaluate.model_evaluation import EvaluateJob
from mlprune.steps.job import make_identity
from mlprune.steps.questions.asked import PlannedQuestion, declarations
from mlprune.store.record_kinds import RECORD_KINDS
from mlprune.store.records import Record, identity
from mlprune.store.store import Store
from tests.tiny_recipes import tiny_recipe

FACTS: dict[str, Any] = {"task": "facts", "path": "facts", "languages": ["en", "fr", "sw"]}
QUESTION: dict[str, Any] = {"name": "q", "variants": "wanda-mt", "task": "facts", "languages": "outside_english"}


def plan_of(folder: Path, *questions: dict[str, Any], **sections: Any) -> Plan:
    recipe = {**tiny_recipe(), "evaluations": [FACTS], "questions": list(questions), **sections}
    return build_plan(parse_recipe(recipe, folder=folder))


def labels(plan: Plan, question: PlannedQuestion) -> set[tuple[str, str]]:
    return {tuple(plan.variants[one].label for one in pair) for pair in question.pairs}  # type: ignore[misc]


def test_every_task_gets_three_exploratory_questions_about_all_variants(tiny_inputs: Path) -> None:
    plan = plan_of(tiny_inputs)
    asked = [(question.criterion.group.text, question.languages) for question in plan.questions]
    assert asked == [("outside_english", ("fr", "sw")), ("worst", ("en", "fr", "sw")), ("en", ("en",))]
    for question in plan.questions:
        assert (question.config, question.n_tests) == (None, len(plan.variants) - 1)
        assert {baseline for _, baseline in question.pairs} == {next(iter(plan.variants))}


def test_dev_is_asked_about_only_without_a_test_split(tiny_inputs: Path) -> None:
    corpus = [
        {**FACTS, "task": "perplexity", "path": "corpus", "split": split, "limit": 4} for split in ("dev", "test")
    ]
    both, dev = (plan_of(tiny_inputs, evaluations=evaluations).questions for evaluations in (corpus, corpus[:1]))
    assert {question.family.split for question in both} == {"test"}
    assert {question.family.split for question in dev} == {"dev"}


def test_a_question_compares_comparable_variants_that_nothing_else_compares(tiny_inputs: Path) -> None:
    question = {**QUESTION, "variants": "contrast", "against": "wanda-mono"}
    plan = plan_of(tiny_inputs, question)
    declared = plan.questions[0]
    assert declared.config is not None
    assert all("contrast" in variant and "wanda fr " in baseline for variant, baseline in labels(plan, declared))
    assert len(declared.pairs) == 2
    assert declared.pairs[0] not in plan_of(tiny_inputs).questions[0].pairs


def test_names_and_flags_of_a_question_are_not_part_of_its_id(tiny_inputs: Path) -> None:
    renamed = {**QUESTION, "name": "other", "primary": False}
    ids = [plan_of(tiny_inputs, question).questions[0].id for question in (QUESTION, renamed)]
    assert ids[0] == ids[1]
    margins = [{**QUESTION, "claim": "noninferior", "margin": margin} for margin in (0.01, 0.02)]
    assert len({ids[0], *(plan_of(tiny_inputs, question).questions[0].id for question in margins)}) == 3


def test_questions_change_no_id_of_other_work(tiny_inputs: Path) -> None:
    kinds = ("masks", "variants", "evaluations", "comparisons")
    keys = [
        {key for job in plan_of(tiny_inputs, *questions).jobs for key in job.makes if key[0] in kinds}
        for questions in ([], [QUESTION])
    ]
    assert keys[0] == keys[1]


def test_a_default_question_that_a_recipe_declares_is_asked_once(tiny_inputs: Path) -> None:
    question = {**QUESTION, "variants": "magnitude", "languages": "worst"}
    magnitude = {"name": "magnitude", "score": "magnitude", "sparsity": 0.5}
    plan = plan_of(tiny_inputs, question, variants=[magnitude])
    assert [(one.name, one.criterion.group.text) for one in plan.questions] == [
        ("q", "worst"),
        ("", "outside_english"),
        ("", "en"),
    ]


def test_the_mean_is_one_test_and_knows_its_seeds(tiny_inputs: Path) -> None:
    random = {"name": "random", "score": "random", "sparsity": 0.5, "seed": [0, 1]}
    magnitude = {"name": "magnitude", "score": "magnitude", "sparsity": 0.5}
    asked = [{**QUESTION, "variants": name, "over": "mean"} for name in ("random", "magnitude")]
    plans = [plan_of(tiny_inputs, question, variants=[random, magnitude]).questions[0] for question in asked]
    assert [(question.n_tests, question.n_seeds) for question in plans] == [(1, 2), (1, 0)]


def test_scripts_and_pairs_of_languages_are_groups(tiny_inputs: Path) -> None:
    latin = plan_of(tiny_inputs, {**QUESTION, "languages": "script:Latn"}).questions[0]
    assert latin.languages == ("fr", "sw")
    translation = {"task": "translation", "path": "corpus", "pairs": ["fr-en", "sw-en"], "limit": 2, "shots": 1}
    pairs = plan_of(tiny_inputs, evaluations=[translation]).questions
    assert {question.criterion.group.kind: question.languages for question in pairs} == {
        "outside_english": ("fr-en", "sw-en"),
        "worst": ("fr-en", "sw-en"),
    }


def test_comparisons_without_a_language_of_the_group_are_left_out(tiny_inputs: Path) -> None:
    some = {**FACTS, "languages": ["sw"], "variants": ["magnitude"]}
    question = {**QUESTION, "variants": "random", "languages": "all"}
    plan = plan_of(tiny_inputs, question, evaluations=[{**FACTS, "languages": ["en", "fr"]}, some])
    declared, *defaults = plan.questions
    assert (declared.languages, declared.n_left_out) == (("en", "fr"), 0)
    assert defaults[0].languages == ("fr", "sw")
    assert {plan.variants[variant].label for variant, _ in defaults[0].pairs} == {"magnitude 0.5 row"}
    assert defaults[0].n_left_out == len(plan.variants) - 2


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"variants": "n-m", "against": "random"}, ["comparable", "n-m against random"]),
        ({"metric": "f1_macro"}, ["no such metric", "accuracy", "f1_macro"]),
        ({"metric": "ece"}, ["no such metric", "accuracy", "ece"]),
        ({"languages": "script:Arab"}, ["no evaluated language", "script:Arab"]),
    ],
)
def test_a_question_without_an_answer_is_refused(tiny_inputs: Path, changes: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        plan_of(tiny_inputs, {**QUESTION, **changes})
    assert all(part in str(caught.value) for part in parts), str(caught.value)


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
