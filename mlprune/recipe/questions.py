"""Section `questions` of a recipe, its groups of languages, and its checks against other sections."""

import re
from collections.abc import Collection, Sequence
from typing import Annotated, Final, NamedTuple

from pydantic import AfterValidator, Field, model_validator

from mlprune.errors import repeated
from mlprune.languages import language_tag, pair_languages
from mlprune.recipe.base import DENSE_LABEL, AgainstConfig, Name
from mlprune.recipe.evaluations import EvaluationConfig, TaskName
from mlprune.strict_model import Model, unknown_name
from mlprune.vocabulary import ClaimName, GroupKind, OverName, computable_metrics

WHOLE_GROUPS: Final[tuple[GroupKind, ...]] = ("outside_english", "all", "worst")
"""Groups that need no name."""
_SCRIPT = re.compile(r"script:([A-Z][a-z]{3})")
_RESOURCE_CLASS = re.compile(r"resource_class:([0-5])")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*")
MAX_TITLE = 160
"""Most characters of a title."""
EXPECTED = "outside_english, all, worst, a language, a pair, script:Latn or resource_class:2"


class AskedLanguages(NamedTuple):
    """Languages of a task that are taken together."""

    kind: GroupKind
    name: str = ""
    """The script, the resource class, the language or the pair; empty for the other kinds."""

    @property
    def text(self) -> str:
        """The group as a recipe names it."""
        return self.name if self.kind == "language" else f"{self.kind}:{self.name}" if self.name else self.kind


def asked_languages(text: str) -> AskedLanguages:
    """Parse the key `languages` of a question.

    Raises:
        ValueError: it is not a group, a language or a pair.
    """
    for kind in WHOLE_GROUPS:
        if text == kind:
            return AskedLanguages(kind)
    if match := _SCRIPT.fullmatch(text):
        return AskedLanguages("script", match[1])
    if match := _RESOURCE_CLASS.fullmatch(text):
        return AskedLanguages("resource_class", match[1])
    try:
        return AskedLanguages("language", "-".join(pair_languages(text)))
    except ValueError:
        pass
    if not _LANGUAGE.fullmatch(text):
        raise ValueError(f"expected {EXPECTED}, got {text!r}")
    return AskedLanguages("language", language_tag(text))


def _check_group(text: str) -> str:
    return asked_languages(text).text


GroupName = Annotated[
    str, AfterValidator(_check_group), Field(title=EXPECTED.replace(" or resource_class", ", resource_class"))
]


def _check_title(text: str) -> str:
    title = text.strip()
    if not title or not title.isprintable() or len(title) > MAX_TITLE:
        raise ValueError(f"expected one line of 1 to {MAX_TITLE} characters, got {len(title)}")
    return title


class QuestionConfig(Model):
    """One question that the results are to answer; the variants that it compares are one family of tests."""

    name: Name
    """Name of the question, unique among the questions."""
    title: Annotated[str, AfterValidator(_check_title)] | None = None
    """The question in plain words, on one line, as the report and the terminal show it (made of the other keys)."""
    variants: str
    """Name of the entry of variants or baselines that the question is about."""
    against: AgainstConfig = AgainstConfig(name=DENSE_LABEL)
    """`dense`, or the name of another entry. A variant is compared with each comparable variant of that entry, as with
    the key `against` of variants; `{name: english, ignore: [language]}` leaves out an aspect."""
    task: TaskName
    """A task of the recipe's evaluations. Of several evaluations on one split, the first one with the entries and the
    language counts, with its first rule, profile, prompt language and seed of shots."""
    languages: GroupName
    """`outside_english` and `all` are means over languages; `worst` compares the variant's lowest language with the
    baseline's lowest."""
    claim: ClaimName = "gain"
    """`gain`: better than the baseline. `noninferior`: worse by at most the margin. `equivalent`: differs by at
    most the margin."""
    margin: Annotated[float, Field(gt=0, lt=1)] | None = None
    """noninferior, equivalent: the margin, a fraction (0.02 is 2 points); of perplexity, the logarithm of the ratio.
    Choose it before the run: a margin that is declared after results exist is exploratory."""
    over: OverName = "each"
    """`each` variant gets a test, corrected over all variants of the question; or one test of the `mean` of all."""
    seeds: Annotated[int, Field(ge=1)] | None = None
    """Number of seeds of the variants (those that the recipe lists). The first declaration decides: with fewer or more
    seeds the answer is exploratory."""
    split: Annotated[str, Field(min_length=1)] = "test"
    """Split of the evaluations."""
    metric: str | None = None
    """A metric of the task (its first)."""
    primary: bool = True
    """`false` marks the answer as exploratory."""

    @model_validator(mode="after")
    def _margin_fits_claim(self) -> "QuestionConfig":
        if self.claim == "gain" and self.margin is not None:
            raise ValueError(
                f"margin does not apply to claim gain, only to noninferior and equivalent, got {self.margin}"
            )
        if self.claim != "gain" and self.margin is None:
            raise ValueError(f"claim {self.claim} needs a margin, such as 0.02 for 2 points")
        return self

    @model_validator(mode="after")
    def _metric_fits_task(self) -> "QuestionConfig":
        known = computable_metrics(self.task)
        if self.metric is not None and self.metric not in known:
            raise unknown_name(f"metric of task {self.task}", self.metric, known, key="metric")
        return self

    @property
    def group(self) -> AskedLanguages:
        """The languages over which it is asked."""
        return asked_languages(self.languages)


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
        for key, name in (("variants", question.variants), ("against", question.against.name)):
            known = sorted(set(entries) - {question.variants if key == "against" else DENSE_LABEL})
            if name not in known and (key, name) != ("against", DENSE_LABEL):
                raise unknown_name(f"name in {key}", name, known, key=f"{where}.{key}")
        if question.against.name == DENSE_LABEL and question.against.ignore:
            raise ValueError(f"{where}.against: ignore does not apply to {DENSE_LABEL}, which differs in everything")
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
    for name in (question.variants, question.against.name):
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
