"""One task, language and split as plain values, its protocol, and the location of its rows."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import KW_ONLY, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, cast

from mlprune.corpus.chat import Chat, chat_columns
from mlprune.corpus.linear_regex import check_pattern
from mlprune.descriptions import TemplateTask
from mlprune.errors import RecipeError
from mlprune.evaluation.tasks.hub_datasets import HubSource, hub_source, pinned
from mlprune.evaluation.tasks.items import N_PUBLISHED
from mlprune.evaluation.tasks.registry import HUB_SETS, TASKS
from mlprune.evaluation.tasks.task import (
    Task,
    prompt_language,
    template_task,
    with_prompts,
)
from mlprune.evaluation.tasks.task_files import CORPUS
from mlprune.hashing import digest, with_defaults, without_defaults
from mlprune.json_values import JsonObject, JsonValue
from mlprune.recipe.evaluations import EvaluationConfig
from mlprune.recipe.models import CorpusConfig, Recipe
from mlprune.steps.sets import task_folder
from mlprune.store.records import ID_LENGTH
from mlprune.vocabulary import HUB, HalvesName, LongerName, ProfileName, PromptName, RuleName

_NOT_IN_ID = ("folder", "hub", "corpus", "shot_corpus", "template")


class TaskLocation(NamedTuple):
    """Location of the rows of a task."""

    folder: str = ""
    """Folder of task files; empty for a data set of a hub."""
    hub: HubSource | None = None
    """Data set of a hub, at one commit and fetched."""


def task_source(recipe: Recipe, path: str) -> Path | HubSource:
    """Parse a path of the recipe without access to a hub; a data set therefore has no commit yet.

    Raises:
        RecipeError: neither the package nor the recipe describes this data set.
    """
    if not path.startswith(HUB):
        return recipe.resolve(path)
    return hub_source(path, {**HUB_SETS, **{described.name: described for described in recipe.data_sets}})


def locate_items(recipe: Recipe, path: str, *, languages: Sequence[str], split: str) -> TaskLocation:
    """Locate the rows of a task, and fetch those of a hub.

    Args:
        languages: languages whose rows are fetched.
    Raises:
        RecipeError: see `task_source`.
        TaskFileError: the data set has no such split, or cannot be fetched.
    """
    source = task_source(recipe, path)
    if isinstance(source, HubSource):
        return TaskLocation(hub=pinned(source, tuple(languages), split))
    return TaskLocation(folder=task_folder(path, source))


@dataclass(frozen=True)
class ExampleSubset:
    """A part of the examples, chosen by id."""

    n_asked: int
    """Number of ids that were asked for."""
    sha256: str
    """SHA-256 of these ids in ascending order, joined by newlines."""

    @classmethod
    def of(cls, example_ids: Collection[str]) -> "ExampleSubset":
        """The subset of the given ids."""
        text = "\n".join(sorted(example_ids))
        return cls(len(example_ids), hashlib.sha256(text.encode()).hexdigest())


@dataclass(frozen=True)
class Choices:
    """The choices about a task that its protocol takes over as they are."""

    task: str
    """Name of a built-in task, or of `template`."""
    _: KW_ONLY
    template: TemplateTask | None = None
    """A task that a recipe describes."""
    prompts: PromptName = "en"
    """Whether the words around the examples are English or in the language of the examples."""
    subset: ExampleSubset | None = None
    """Examples that a rescoring kept; None for all."""
    profile: ProfileName = "corrected"
    """`paper` chooses examples and shots as the published code does, and scores candidates and ranks as it does."""
    other_shots: bool = False
    """Translation: whether the sentence pairs in the prompt are from another text than the evaluated ones."""
    split_by: HalvesName = "items"
    """What the halves dev and test of a corpus divide."""
    longer: LongerName = "refuse"
    """What happens to an item that is longer than the model."""
    chat: Chat | None = None
    """The chat in which items are asked; None if their texts are plain."""
    shot_split: str = ""
    """Generated answers: split of the questions that the prompt shows with their answers."""


@dataclass(frozen=True, kw_only=True)
class EvaluationProtocol(Choices):
    """How a task is evaluated.

    Evaluations of equal protocol differ only in variant, language, split, scoring rule and number of items, which are
    columns of their own.
    """

    limit_seed: int = 0
    """Seed of the items that a limit keeps; 0 without a limit, so that limited and full evaluations agree."""
    n_shots: int | None = None
    """Generated texts: sentence pairs, or questions with their answers, in the prompt."""
    shot_seed: int | None = None
    """Translation: seed of the choice of these pairs."""
    max_new_tokens: int | None = None
    """Generated texts: most tokens generated."""
    metric_names: tuple[str, ...] = ()
    """Metrics computed instead of those of the task."""

    @cached_property
    def id(self) -> str:
        """Hash of the parameters that are not at their defaults: the key by which evaluations are joined."""
        parameters = without_defaults(self, omit=("template",)) | template_parameters(self.template)
        return digest(parameters)[:ID_LENGTH]

    @property
    def columns(self) -> dict[str, JsonValue]:
        """Columns of the catalog; NULL for what the protocol does not have."""
        return {
            "prompts": self.prompts,
            "limit_seed": self.limit_seed,
            "n_shots": self.n_shots,
            "shot_seed": self.shot_seed,
            "max_new_tokens": self.max_new_tokens,
            "metric_names": list(self.metric_names) or None,
            "subset_n_asked": None if self.subset is None else self.subset.n_asked,
            "subset_sha256": None if self.subset is None else self.subset.sha256,
            **profile_column(self.profile),
            **({"other_shots": True} if self.other_shots else {}),
            **({} if self.split_by == "items" else {"split_by": self.split_by}),
            **({} if self.longer == "refuse" else {"longer": self.longer}),
            **chat_columns(self.chat),
        }


def template_parameters(template: TemplateTask | None) -> dict[str, JsonValue]:
    """Parameters of an id for a task that a recipe describes."""
    return {} if template is None else {"template": template.parameters}


def profile_column(profile: ProfileName) -> dict[str, JsonValue]:
    """The column of the catalog that marks rows of profile `paper`; the catalog adds it to all other rows."""
    return {} if profile == "corrected" else {"profile": profile}


@dataclass(frozen=True)
class TaskSpec(Choices):
    """One task, language and split as plain values."""

    language: str
    """A language, or a pair such as `fr-en` for translation."""
    split: str
    limit: int | None = None
    """Number of items to keep; None for all."""
    seed: int = 0
    """Seed of the choice of these items."""
    folder: str = ""
    """Folder of task files; empty if a corpus or a hub's data set is read."""
    corpus: CorpusConfig | None = None
    """Parallel text for perplexity, translation and built-in facts."""
    is_corpus_half: bool = False
    """Whether `split` is a half of the corpus, chosen by hash, instead of a part of a file name."""
    rule: RuleName = "mean"
    """Scoring rule of the candidates; tasks without candidates ignore it."""
    shots: int = 0
    """Generated texts: sentence pairs, or questions with their answers, in the prompt."""
    shot_seed: int = 0
    """Translation: seed of the choice of these pairs."""
    max_new_tokens: int = 0
    """Generated texts: most tokens generated; 0 to score the references instead."""
    hub: HubSource | None = None
    """Data set of a hub to read."""
    metrics: tuple[str, ...] = ()
    """Metrics to compute; empty for those of the task."""
    shot_corpus: CorpusConfig | None = None
    """Translation: the other text of the sentence pairs in the prompt."""
    aligned: bool = True
    """Whether the same id is the same example in all languages; if not, ids begin with the language."""

    @property
    def parameters(self) -> dict[str, JsonValue]:
        """Parameters of the id that are not at their defaults; neither folders nor names of files."""
        return without_defaults(self, omit=_NOT_IN_ID) | template_parameters(self.template)

    @property
    def family(self) -> "TaskSpec":
        """The task without its language: equal for evaluations that differ only in language."""
        return replace(self, language="")

    @property
    def definition(self) -> Task:
        """The task in any language."""
        return template_task(self.template) if self.template is not None else TASKS[self.task]

    @property
    def localized_task(self) -> Task:
        """The task in this language, with the prompts that are asked for.

        Raises:
            TaskFileError: the task has no prompts in this language.
        """
        return with_prompts(self.definition, language=self.language, prompts=self.prompts)

    @property
    def scoring_rule(self) -> str:
        """How texts are scored, as the catalog names it."""
        reads = self.definition.reads
        return {"candidates": self.rule, "sentences": "sum", "pairs": "greedy", "questions": "greedy"}[reads]

    @property
    def prompt_language(self) -> str:
        """Language of the words around the examples."""
        return prompt_language(self.definition, self.language, self.prompts)

    @property
    def is_generated(self) -> bool:
        """Whether the model writes texts."""
        return self.definition.reads in ("pairs", "questions")

    @property
    def scored(self) -> "TaskSpec":
        """The task whose texts are scored: of generated texts, that of the references after the prompts."""
        return replace(self, max_new_tokens=0)

    @property
    def sides(self) -> tuple[str, ...]:
        """Source and target language of translation; empty for other tasks."""
        return pair_sides(self.language) if self.definition.reads == "pairs" else ()

    @property
    def target_language(self) -> str:
        """The language the model writes or judges, which metrics may depend on."""
        return self.sides[1] if self.sides else self.language

    @property
    def protocol(self) -> EvaluationProtocol:
        """How the task is evaluated, in any language and split, under any rule and on any number of items."""
        is_translation = self.definition.reads == "pairs"
        return EvaluationProtocol(
            **{field.name: getattr(self, field.name) for field in fields(Choices)},
            limit_seed=0 if self.limit is None else self.seed,
            n_shots=self.shots if self.is_generated else None,
            shot_seed=self.shot_seed if is_translation or self.shot_split else None,
            max_new_tokens=self.max_new_tokens if self.is_generated else None,
            metric_names=self.metrics,
        )

    @property
    def columns(self) -> dict[str, JsonValue]:
        """Columns of the catalog that say what is evaluated."""
        return {**self.family_columns, "language": self.language, "prompt_language": self.prompt_language}

    @property
    def family_columns(self) -> dict[str, JsonValue]:
        """Those of the columns that are equal in all languages."""
        return {
            "task": self.task,
            "split": self.split,
            "scoring_rule": self.scoring_rule,
            "example_limit": self.limit,
            "protocol_id": self.protocol.id,
        }


def task_of_entry(recipe: Recipe, entry: EvaluationConfig, *, corpus: CorpusConfig | None) -> TaskSpec:
    """Return the task of an entry without language, profile, rule, prompt language and shots.

    Args:
        corpus: parallel text that is read instead of task files.
    Raises:
        RecipeError, TaskFileError: see `locate_items`; or a key does not apply to a task of the recipe.
        BadInputError: the regular expression of a task cannot be used.
    """
    template = recipe.template_task(entry.task)
    rule = (template_task(template) if template else TASKS[entry.task]).generates
    if template is not None:
        _check_keys(entry, is_generated=rule is not None)
    if rule is not None and rule.pattern is not None:
        check_pattern(rule.pattern)
    location = TaskLocation()
    if corpus is None:
        location = locate_items(recipe, entry.path, languages=entry.languages, split=entry.split)
    return TaskSpec(
        task=entry.task,
        language="",
        split=entry.split,
        limit=entry.limit,
        seed=entry.seed,
        corpus=corpus,
        is_corpus_half=entry.path == CORPUS,
        split_by=entry.split_by,
        longer=entry.longer,
        aligned=entry.aligned,
        template=template,
        max_new_tokens=0 if rule is None else _given(entry, "max_new_tokens", rule.max_new_tokens),
        shots=0 if rule is None else _given(entry, "shots", 0),
        shot_split=(rule is not None and entry.shots_split) or "",
        folder=location.folder,
        hub=location.hub,
    )


def _given(entry: EvaluationConfig, key: str, default: int) -> int:
    """Return the value of a key that the entry has, or a default of the task."""
    return int(getattr(entry, key)) if key in entry.model_fields_set else default


def _check_keys(entry: EvaluationConfig, *, is_generated: bool) -> None:
    """Check the keys that belong to one kind of the tasks that a recipe describes.

    Raises:
        RecipeError: the entry has a key of the other kind.
    """
    of_generated = ("max_new_tokens", "shots", "shots_split", "shot_seed")
    others = ("rule", "profile") if is_generated else of_generated
    for key in others:
        if key in entry.model_fields_set:
            kind = "a choice between candidates" if is_generated else "a task with generate"
            raise RecipeError("a key does not apply to the task", task=entry.task, key=key, expected=kind)


def task_spec(parameters: JsonObject) -> TaskSpec:
    """Build the spec from the parameters of a record. It can be measured again, but reads no files."""
    nested = ("template", "subset", "chat")
    template, subset, chat = (cast("JsonObject | None", parameters.get(name)) for name in nested)
    plain = {name: value for name, value in parameters.items() if name not in nested}
    return replace(
        with_defaults(TaskSpec, plain),
        template=None if template is None else TemplateTask.model_validate(template),
        subset=None if subset is None else with_defaults(ExampleSubset, subset),
        chat=None if chat is None else with_defaults(Chat, chat),
    )


def in_profile(spec: TaskSpec, profile: ProfileName) -> TaskSpec:
    """Return the task in a profile. `paper` has no seed, and chooses among candidates for at most 1,000 examples."""
    if profile == "corrected":
        return spec
    limit = N_PUBLISHED if spec.limit is None and spec.definition.reads == "candidates" else spec.limit
    return replace(spec, profile=profile, limit=limit, seed=0)


def pair_sides(pair: str) -> tuple[str, str]:
    """Split `fr-en` into (fr, en). Both are stored tags: a script begins with a capital letter."""
    parts = pair.split("-")
    cut = next(index for index in range(1, len(parts)) if parts[index].islower())
    return "-".join(parts[:cut]), "-".join(parts[cut:])
