"""Checks of the questions of a recipe against its entries and evaluations."""

from collections.abc import Collection, Sequence

from mlprune.errors import repeated
from mlprune.languages import pair_languages
from mlprune.recipe.base import DENSE_LABEL, unknown_name
from mlprune.recipe.evaluations import EvaluationConfig
from mlprune.recipe.questions.question import QuestionConfig


def check_questions(
    questions: Sequence[QuestionConfig], evaluations: Sequence[EvaluationConfig], *, entries: Collection[str]
) -> None:
    """Check that every question is about entries, a task, a split and languages that the recipe evaluates.

    Args:
        entries: names of the entries that make variants.
    Raises:
        ValueError: two questions have one name, or a question cannot be answered by the evaluations.
        PydanticCustomError: a name is unknown.
    """
    names = [question.name for question in questions]
    for name in repeated(names):
        raise ValueError(f"two questions have the same name: {name!r}")
    for index, question in enumerate(questions):
        where = f"questions.{index}"
        for key, name in (("variants", question.variants), ("against", question.against)):
            known = sorted(set(entries) - {question.variants if key == "against" else DENSE_LABEL})
            if name not in known and (key, name) != ("against", DENSE_LABEL):
                raise unknown_name(f"name in {key}", name, known, key=f"{where}.{key}")
        _check_evaluated(question, evaluations, where=where)


def _check_evaluated(question: QuestionConfig, evaluations: Sequence[EvaluationConfig], *, where: str) -> None:
    of_task = [evaluation for evaluation in evaluations if evaluation.task == question.task]
    if not of_task:
        evaluated = sorted({evaluation.task for evaluation in evaluations})
        raise unknown_name("task: no evaluation of the recipe has it", question.task, evaluated, key=f"{where}.task")
    on_split = [evaluation for evaluation in of_task if evaluation.split == question.split]
    if not on_split:
        splits = sorted({evaluation.split for evaluation in of_task})
        what = f"split of the evaluations of task {question.task}"
        raise unknown_name(what, question.split, splits, key=f"{where}.split")
    for name in (question.variants, question.against):
        if name != DENSE_LABEL and not any(_evaluates(evaluation, name) for evaluation in on_split):
            raise ValueError(
                f"{where}: no evaluation of task {question.task} on split {question.split} includes the entry {name!r}"
            )
    languages = [language for evaluation in on_split for language in evaluated_languages(evaluation)]
    if question.group.kind == "outside_english" and set(languages) <= {"en"}:
        raise ValueError(f"{where}: task {question.task} on split {question.split} has no language outside English")
    if question.group.kind == "language" and question.group.name not in languages:
        what = f"language of task {question.task} on split {question.split}"
        raise unknown_name(what, question.group.name, list(dict.fromkeys(languages)), key=f"{where}.languages")


def _evaluates(evaluation: EvaluationConfig, name: str) -> bool:
    return not evaluation.variants or name in evaluation.variants


def evaluated_languages(evaluation: EvaluationConfig) -> tuple[str, ...]:
    """Return the languages of an evaluation; of a translation, its pairs as stored."""
    return evaluation.languages or tuple("-".join(pair_languages(pair)) for pair in evaluation.pairs)
