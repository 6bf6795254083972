"""Evaluations of a recipe: tasks in languages and translation pairs.

docs/evaluation.md has an example of every option.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, TypeVar, get_args

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from mlprune.capabilities.distance.keys import Distance
from mlprune.descriptions import LanguageNames, TemplateTask
from mlprune.errors import RecipeError
from mlprune.languages import pair_languages
from mlprune.recipe.base import MOST_ITEMS, ChatKey, Seed
from mlprune.recipe.names import NamesOf
from mlprune.recipe.options import refuse_keys_of_others
from mlprune.strict_model import Language, Model, as_tuple, distinct_values, unknown_name, with_context
from mlprune.vocabulary import (
    HUB,
    METRIC_TRAITS,
    TASK_TRAITS,
    HalvesName,
    LongerName,
    ProfileName,
    PromptName,
    RuleName,
    SplitName,
)

KNOWN_TASKS: tuple[str, ...] = tuple(TASK_TRAITS)
READ_PARALLEL_TEXT = tuple(name for name, traits in TASK_TRAITS.items() if traits.reads_parallel_text)
WITH_CANDIDATES = tuple(name for name, traits in TASK_TRAITS.items() if traits.reads == "candidates")
WITH_NATIVE_PROMPTS = tuple(name for name, traits in TASK_TRAITS.items() if traits.has_native_prompts)
READ_QUESTIONS = tuple(name for name, traits in TASK_TRAITS.items() if traits.reads == "questions")
READ_PAIRS = tuple(name for name, traits in TASK_TRAITS.items() if traits.reads == "pairs")
KEYS_OF_TASKS: Mapping[str, tuple[str, ...]] = {
    "rule": WITH_CANDIDATES,
    "prompt_language": WITH_NATIVE_PROMPTS,
    "shots_from": READ_PAIRS,
    "columns": READ_PARALLEL_TEXT,
    "shots_split": READ_QUESTIONS,
    **dict.fromkeys(("shots", "shot_seed", "max_new_tokens"), (*READ_PAIRS, *READ_QUESTIONS)),
}
"""Key of an evaluation -> the built-in tasks that have it; the other keys are those of all tasks. Tasks of a recipe
have the key `rule`, or those of generated answers, too."""
KEYS_OF_A_RECIPE = ("rule", "shots_split", "shots", "shot_seed", "max_new_tokens")

Value = TypeVar("Value")


def _check_task(task: TemplateTask) -> TemplateTask:
    """Refuse a task with the name of a built-in one. Records may have names that are built in now."""
    if task.name in KNOWN_TASKS:
        raise ValueError(f"{task.name!r} is a built-in task: choose another name")
    return task


DescribedTask = Annotated[TemplateTask, AfterValidator(_check_task)]


def _check_task_name(name: str, info: ValidationInfo) -> str:
    """Refuse a task that is neither built in nor described by the recipe."""
    known = (*KNOWN_TASKS, *(info.context or {}).get("tasks", ()))
    if name not in known:
        raise unknown_name("task", name, known)
    return name


TaskName = Annotated[str, AfterValidator(_check_task_name)]


class EvaluationConfig(Model):
    """One task in some languages."""

    task: TaskName
    """A built-in task, or one of the recipe's `tasks`."""
    path: Annotated[str, Field(min_length=1)]
    """Folder of task files, or of parallel text (translation, perplexity); `corpus` for the recipe's corpus; or
    `hub:NAME` or `hub:NAME@REVISION` for a data set of a hub."""
    columns: LanguageNames = ()
    """translation, perplexity: language -> its column in the tables of `path`, as in `corpus`."""
    languages: tuple[Language, ...] = ()
    """Languages; needed by every task except translation."""
    pairs: tuple[str, ...] = ()
    """Language pairs such as `fr-en`; needed by translation, and not allowed for other tasks."""
    split: str = "test"
    """Split of the task files; of the corpus: dev or test."""
    split_by: HalvesName = "items"
    """corpus: dev and test are halves of the items, or halves of the `clusters`, so that they share no cluster: no
    territory of the built-in facts, and no document of a parallel text that states its documents."""
    aligned: bool = True
    """Task files: whether the same id is the same example in all languages; if not, ids begin with the language, and
    items of different languages are never paired."""
    limit: Annotated[int, Field(ge=1, le=MOST_ITEMS)] | None = None
    """Number of items to keep, the same items in every language; all of the split if left out."""
    seed: Seed = 0
    """Seed of the items that a limit keeps."""
    rule: Annotated[tuple[RuleName, ...], BeforeValidator(as_tuple)] = ("mean",)
    """Scoring rule of candidates; a list gives one evaluation per rule, from one run of the model."""
    prompt_language: Annotated[tuple[PromptName, ...], BeforeValidator(as_tuple)] = ("en",)
    """xnli, xcopa, mgsm: English or native words around the examples; a list gives one evaluation each."""
    shots: Annotated[int, Field(ge=0)] = 4
    """translation: sentence pairs in the prompt. Tasks with generated answers: questions with their answers, of
    `shots_split`; none by default."""
    shots_from: Annotated[str, Field(min_length=1)] | None = None
    """translation: parallel text of the sentence pairs in the prompt, `corpus` for the recipe's corpus; `path` if left
    out."""
    shots_split: Annotated[str, Field(min_length=1)] | None = None
    """Tasks with generated answers: split of the shots, which are never evaluated questions."""
    shot_seed: Annotated[tuple[Seed, ...], BeforeValidator(as_tuple)] | None = None
    """Seed of the shots in the prompt (`seed` if left out); a list gives one evaluation each."""
    max_new_tokens: Annotated[int, Field(ge=1)] = 64
    """translation, tasks with generated answers: most tokens generated; by default those of the task."""
    profile: Annotated[tuple[ProfileName, ...], BeforeValidator(as_tuple)] = ("corrected",)
    """`paper` evaluates as the published code does, on 1,000 examples unless `limit` is given; needs `rule: mean`. A
    list gives one evaluation each, from one run of the model if both have the same examples."""
    longer: LongerName = "refuse"
    """What happens to an item with a text or prompt that is longer than the model: the recipe is refused (`refuse`),
    the item is left out (`skip`), or the start of its texts is cut off (`truncate_left`)."""
    chat: ChatKey = None
    """Ask in the model's chat template, optionally with a system text, as in `{system: Translate.}`: the context is the
    user's turn, and what is scored or generated is the assistant's; shots are earlier turns."""
    distance: Distance = False
    """Whether to measure how far the variant's distributions are from the dense model's, too: at the tokens of the
    scored texts, or of the references of generated ones. docs/evaluation.md has the metrics."""
    variants: Annotated[tuple[str, ...], NamesOf("evaluated")] = ()
    """Names of the variant entries to evaluate; empty for all. The dense model is always evaluated."""

    @field_validator("languages")
    @classmethod
    def _languages_are_distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return distinct_values(value) if value else value

    @field_validator("pairs")
    @classmethod
    def _pairs_are_distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if value:
            distinct_values(tuple(pair_languages(pair) for pair in value))
        return value

    @field_validator("rule", "prompt_language", "shot_seed", "profile")
    @classmethod
    def _list_is_distinct(cls, value: tuple[Value, ...] | None) -> tuple[Value, ...] | None:
        return value if value is None else distinct_values(value)

    @model_validator(mode="after")
    def _languages_fit_task(self) -> "EvaluationConfig":
        needed, refused = ("pairs", "languages") if self.task in READ_PAIRS else ("languages", "pairs")
        if getattr(self, refused):
            raise ValueError(f"task {self.task} takes {needed}, not {refused}")
        if not getattr(self, needed):
            raise ValueError(f"task {self.task} needs {needed}, at least one")
        if self.path == "corpus" and self.split not in get_args(SplitName):
            raise ValueError(f"the corpus has the splits dev and test, got {self.split!r}")
        if self.path != "corpus" and self.split_by != "items":
            raise ValueError(f"split_by applies to path corpus, whose halves are drawn, got path {self.path!r}")
        reads_text = self.path == "corpus" or self.task in READ_PARALLEL_TEXT
        if not self.aligned and (reads_text or self.path.startswith(HUB)):
            remedy = "parallel text is aligned" if reads_text else "data_sets have a key aligned"
            raise ValueError(f"aligned applies to task files; {remedy}, got path {self.path!r}")
        if self.columns and self.path == "corpus":
            raise ValueError("columns of the recipe's corpus belong in the section corpus")
        if self.path.startswith(HUB) and self.task in READ_PARALLEL_TEXT:
            raise ValueError(f"task {self.task} reads parallel text from a folder, got {self.path!r}")
        for pair in self.pairs:
            pair_languages(pair)
        return self

    @model_validator(mode="after")
    def _keys_fit_task(self) -> "EvaluationConfig":
        owners = (
            {**KEYS_OF_TASKS}
            if self.task in KNOWN_TASKS
            else {**KEYS_OF_TASKS, **dict.fromkeys(KEYS_OF_A_RECIPE, (self.task,))}
        )
        refuse_keys_of_others(self, "task", owners, self.task)
        return self

    @model_validator(mode="after")
    def _shots_have_a_split(self) -> "EvaluationConfig":
        has_shots = "shots" in self.model_fields_set and self.shots > 0
        if self.task not in READ_PAIRS and has_shots != (self.shots_split is not None):
            raise ValueError("shots of generated answers need shots_split, their split, and the number of shots")
        return self

    @model_validator(mode="after")
    def _chat_fits_length(self) -> "EvaluationConfig":
        if self.chat is not None and self.longer == "truncate_left":
            raise ValueError("longer: truncate_left would cut the first turns of a chat off: use skip or refuse")
        if self.distance and self.longer == "truncate_left":
            raise ValueError("distance counts the characters of whole texts: use longer: skip or refuse")
        return self

    @model_validator(mode="after")
    def _profile_fits_task(self) -> "EvaluationConfig":
        if "paper" not in self.profile:
            return self
        if self.chat is not None:
            raise ValueError("profile paper does not apply to chat: the published code does not have it")
        if self.task in KNOWN_TASKS and TASK_TRAITS[self.task].reads in ("sentences", "questions"):
            raise ValueError(f"profile paper does not apply to task {self.task}: the published code does not have it")
        if self.rule != ("mean",):
            raise ValueError(f"profile paper needs rule mean, the only one of the published code, got {self.rule}")
        return self


def check_described_files(tasks: Sequence[TemplateTask], evaluations: Sequence[EvaluationConfig]) -> None:
    """Check that files without `{language}` in their names are read for one language only.

    Raises:
        PydanticCustomError: the evaluations of a task and path have several languages, or a task skips rows of a hub.
    """
    with_skip = {task.name for task in tasks if task.skip}
    for entry in evaluations:
        if entry.task in with_skip and entry.path.startswith(HUB):
            expected = "a folder; a data set of a hub has skips_incomplete in data_sets"
            message = "skip applies to files of a task"
            raise with_context(RecipeError(message, task=entry.task, expected=expected, got=entry.path))
    without_language = {task.name: task.files for task in tasks if not task.names_language}
    languages: dict[tuple[str, str], dict[str, None]] = {}
    for entry in evaluations:
        if entry.task in without_language and not entry.path.startswith(HUB):
            languages.setdefault((entry.task, entry.path), {}).update(dict.fromkeys(entry.languages))
    for (task, path), of_path in languages.items():
        if len(of_path) > 1:
            expected = "one language, {language} in the task's files, or a path of its own for each language"
            context = {"task": task, "path": path, "files": list(without_language[task])}
            message = "the files of a task do not name the language"
            raise with_context(RecipeError(message, context, expected=expected, got=list(of_path)))


def evaluations_of_task(
    evaluations: Sequence[EvaluationConfig], task: str, *, split: str
) -> tuple[EvaluationConfig, ...]:
    """Return the evaluations of a task on a split that a search or an analysis measures, each with one rule, prompt
    language, profile and seed of shots, and of all variants.

    As for questions, the first evaluation counts, together with those that differ from it in their languages only.
    """
    on_split = [_narrowed(entry) for entry in evaluations if (entry.task, entry.split) == (task, split)]
    return tuple(entry for entry in on_split if _without_languages(entry) == _without_languages(on_split[0]))


def require_task(task: str, evaluations: Sequence[EvaluationConfig], *, key: str) -> None:
    """Check that a task is evaluated.

    Raises:
        PydanticCustomError: it is not; with its key.
    """
    tasks = list(dict.fromkeys(entry.task for entry in evaluations))
    if task not in tasks:
        raise unknown_name("task: no evaluation of the recipe has it", task, tasks, key=key)


def has_metric(entry: EvaluationConfig, metric: str) -> bool:
    """Whether an evaluation has the key that a metric of its task needs, if it needs one."""
    traits = METRIC_TRAITS.get(metric)
    return traits is None or not traits.key or bool(getattr(entry, traits.key))


def require_split(split: str, evaluations: Sequence[EvaluationConfig], *, key: str, task: str | None = None) -> None:
    """Check that something, or a task, is evaluated on a split.

    Raises:
        PydanticCustomError: nothing is; with the key of the split.
    """
    splits = sorted({entry.split for entry in evaluations if task in (None, entry.task)})
    if split not in splits:
        of = "the recipe" if task is None else f"task {task}"
        raise unknown_name(f"split: no evaluation of {of} has it", split, splits, key=key)


def _narrowed(entry: EvaluationConfig) -> EvaluationConfig:
    first = {name: getattr(entry, name)[:1] for name in ("rule", "prompt_language", "profile")}
    shot_seed = None if entry.shot_seed is None else entry.shot_seed[:1]
    return entry.model_copy(update={**first, "shot_seed": shot_seed, "variants": ()})


def _without_languages(entry: EvaluationConfig) -> EvaluationConfig:
    return entry.model_copy(update={"languages": (), "pairs": ()})
