"""One task, language and split as plain values, and the items that such a value reads.

Items are read and tokenised once for all variants and stay in memory.
"""

from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import cast

from mlprune.corpus.sources import ParallelCorpus
from mlprune.errors import TaskFileError
from mlprune.evaluation.scoring.candidates import PreparedTask, prepare
from mlprune.evaluation.scoring.translation import PreparedTranslation, prepare_translation
from mlprune.evaluation.tasks.hub_datasets import HubSource
from mlprune.evaluation.tasks.items import ChoiceItem, TranslationItem
from mlprune.evaluation.tasks.published_examples import N_PUBLISHED, published_examples
from mlprune.evaluation.tasks.registry import TASKS
from mlprune.evaluation.tasks.task import Task, prompt_language, with_prompts
from mlprune.evaluation.tasks.task_files import Item, TaskData, corpus_items, read_items
from mlprune.evaluation.tasks.template_tasks import TemplateTask, template_task
from mlprune.hashing import digest, ordered_by_hash, with_defaults, without_defaults
from mlprune.json_values import JsonObject, JsonValue
from mlprune.models.loading import load_tokenizer
from mlprune.steps.demonstrate.source_texts import CorpusRef, open_corpus
from mlprune.steps.evaluate.protocol import EvaluationProtocol, ExampleSubset
from mlprune.steps.job import ModelRef
from mlprune.vocabulary import ProfileName, PromptName, RuleName, SplitName

PUBLISHED_SHOT_LENGTH = 100
"""Characters that a source sentence must stay below to be a shot of profile `paper`."""
_NOT_IN_ID = ("folder", "hub", "corpus", "shot_corpus")


@dataclass(frozen=True)
class TaskSpec:
    """One task, language and split as plain values."""

    task: str
    """Name of a built-in task, or of `template`."""
    language: str
    """A language, or a pair such as `fr-en` for translation."""
    split: str
    limit: int | None = None
    """Number of items to keep; None for all."""
    seed: int = 0
    """Seed of the choice of these items."""
    folder: str = ""
    """Folder of task files; empty if a corpus or a hub's data set is read."""
    corpus: CorpusRef | None = None
    """Parallel text for perplexity, translation and built-in facts."""
    is_corpus_half: bool = False
    """Whether `split` is a half of the corpus, chosen by hash, instead of a part of a file name."""
    rule: RuleName = "mean"
    """Scoring rule of the candidates; tasks without candidates ignore it."""
    prompts: PromptName = "en"
    """Whether the words around the examples are English or in the language of the examples."""
    shots: int = 0
    """Translation: sentence pairs in the prompt."""
    shot_seed: int = 0
    """Translation: seed of the choice of these pairs."""
    max_new_tokens: int = 0
    """Translation: most tokens generated."""
    hub: HubSource | None = None
    """Data set of a hub to read."""
    template: TemplateTask | None = None
    """A task that the recipe describes."""
    metrics: tuple[str, ...] = ()
    """Metrics to compute; empty for those of the task."""
    subset: ExampleSubset | None = None
    """Examples that a rescoring kept; None for all."""
    profile: ProfileName = "corrected"
    """`paper` chooses examples and shots as the published code does, and scores candidates and ranks as it does."""
    other_shots: bool = False
    """Translation: whether the sentence pairs in the prompt are from another text, `shot_corpus`."""
    shot_corpus: CorpusRef | None = None

    @property
    def parameters(self) -> dict[str, JsonValue]:
        """Parameters of the id that are not at their defaults; neither folders nor names of files."""
        return without_defaults(self, omit=_NOT_IN_ID)

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
        return {"candidates": self.rule, "sentences": "sum", "pairs": "greedy"}[self.definition.reads]

    @property
    def prompt_language(self) -> str:
        """Language of the words around the examples."""
        return prompt_language(self.definition, self.language, self.prompts)

    @property
    def sides(self) -> tuple[str, ...]:
        """Source and target language of translation; empty for other tasks."""
        return pair_sides(self.language) if self.definition.reads == "pairs" else ()

    @property
    def target_language(self) -> str:
        """The language the model writes or judges, which metrics may depend on."""
        return self.sides[1] if self.sides else self.language

    @property
    def as_run(self) -> "TaskSpec":
        """The part that determines the model's work: equal for all rules, metrics and subsets.

        Also equal for both profiles if they have the same examples.
        """
        run = replace(self, rule="mean", metrics=(), subset=None)
        if self.profile == "corrected" or self.sides:
            return run
        whole = replace(run, profile="corrected", limit=None)
        return whole if self.limit is None or self.limit >= len(task_data(whole).items) else run

    @property
    def protocol(self) -> EvaluationProtocol:
        """How the task is evaluated, in any language and split, under any rule and on any number of items."""
        is_translation = self.definition.reads == "pairs"
        return EvaluationProtocol(
            task=self.task,
            template=self.template,
            prompts=self.prompts,
            limit_seed=0 if self.limit is None else self.seed,
            n_shots=self.shots if is_translation else None,
            shot_seed=self.shot_seed if is_translation else None,
            max_new_tokens=self.max_new_tokens if is_translation else None,
            metric_names=self.metrics,
            subset=self.subset,
            profile=self.profile,
            other_shots=self.other_shots,
        )

    @property
    def columns(self) -> dict[str, JsonValue]:
        """Columns of the catalog that say what is evaluated."""
        return {
            "task": self.task,
            "language": self.language,
            "split": self.split,
            "scoring_rule": self.scoring_rule,
            "prompt_language": self.prompt_language,
            "example_limit": self.limit,
            "protocol_id": self.protocol.id,
        }


def task_spec(parameters: JsonObject) -> TaskSpec:
    """Build the spec from the parameters of a record. It can be measured again, but reads no files."""
    template, subset = (cast("JsonObject | None", parameters.get(name)) for name in ("template", "subset"))
    plain = {name: value for name, value in parameters.items() if name not in ("template", "subset")}
    return replace(
        with_defaults(TaskSpec, plain),
        template=None if template is None else with_defaults(TemplateTask, template),
        subset=None if subset is None else with_defaults(ExampleSubset, subset),
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


def task_data(spec: TaskSpec) -> TaskData:
    """Read and check the items of a task.

    Raises:
        TaskFileError: the items are missing in the files or the corpus.
    """
    return _task_data(spec.as_run)


@cache
def _task_data(spec: TaskSpec) -> TaskData:
    if spec.profile == "paper":
        data = _task_data(replace(spec, profile="corrected", limit=None, seed=0))
        return data if spec.limit is None else data.keep(published_examples(data.items, spec.limit))
    if spec.corpus is None:
        source = spec.hub or Path(spec.folder)
        return read_items(
            spec.localized_task,
            source,
            language=spec.language,
            split=spec.split,
            limit=spec.limit,
            seed=spec.seed,
        )
    languages = spec.sides or (spec.language,)
    corpus = open_corpus(spec.corpus)
    lines = {} if spec.task == "facts" else {language: corpus.lines(language) for language in languages}
    return corpus_items(
        spec.task,
        lines,
        language=languages[0],
        target=languages[1] if len(languages) > 1 else None,
        split=cast("SplitName", spec.split) if spec.is_corpus_half else None,
        limit=spec.limit,
        seed=spec.seed,
    )


def shot_lines(spec: TaskSpec) -> tuple[int, ...]:
    """Return the corpus lines of a prompt's shots: the first in seeded order that are not evaluated.

    Profile `paper` takes them in the order of the file and skips long source sentences, as the published code does.
    """
    lines, evaluated = _shot_text(spec).lines(spec.sides[0]), _evaluated_lines(spec)
    unused = (line for line in range(len(lines)) if line not in evaluated)
    if spec.profile == "paper":
        return tuple(islice((line for line in unused if len(lines[line]) < PUBLISHED_SHOT_LENGTH), spec.shots))
    return tuple(ordered_by_hash(spec.shot_seed, unused)[: spec.shots])


def _evaluated_lines(spec: TaskSpec) -> frozenset[int]:
    """Return the lines that are evaluated; if shots are from another text, its lines with an evaluated sentence."""
    items = cast("tuple[TranslationItem, ...]", task_data(spec).items)
    if spec.shot_corpus is None:
        return frozenset(int(item.example_id) for item in items)
    sources, references = {item.source for item in items}, {item.reference for item in items}
    pairs = zip(*(_shot_text(spec).lines(side) for side in spec.sides), strict=True)
    return frozenset(line for line, (x, y) in enumerate(pairs) if x in sources or y in references)


def _shot_text(spec: TaskSpec) -> ParallelCorpus:
    corpus = spec.shot_corpus or spec.corpus
    assert corpus is not None, "translation reads a corpus"
    return open_corpus(corpus)


def shot_contents(spec: TaskSpec) -> dict[str, str]:
    """Return the hash of another text that shots are taken from, for an id; nothing if there is none."""
    if spec.shot_corpus is None:
        return {}
    text = _shot_text(spec)
    return {"shots": digest([text.content(side) for side in spec.sides])}


def prepared_task(spec: TaskSpec, model: ModelRef, batch_tokens: int) -> PreparedTask | PreparedTranslation:
    """Tokenise the items and divide them into batches, for all variants and rules.

    Raises:
        TaskFileError: a text does not fit the model's positions.
    """
    return _prepared_task(spec.as_run, model, batch_tokens)


@cache
def _prepared_task(spec: TaskSpec, model: ModelRef, batch_tokens: int) -> PreparedTask | PreparedTranslation:
    data = task_data(spec)
    try:
        return _tokenised(spec, data.items, model, batch_tokens)
    except TaskFileError as err:
        place = {"task": spec.task, "language": spec.language, "split": spec.split, "file": data.path}
        raise TaskFileError(err.message, {**place, **err.context}) from err


def _tokenised(
    spec: TaskSpec, items: tuple[Item, ...], model: ModelRef, batch_tokens: int
) -> PreparedTask | PreparedTranslation:
    tokenizer = load_tokenizer(Path(model.path))
    if spec.definition.reads != "pairs":
        choices = cast("tuple[ChoiceItem, ...]", items)
        return prepare(tokenizer, choices, batch_tokens=batch_tokens, max_positions=model.max_positions)
    source, target = (_shot_text(spec).lines(side) for side in spec.sides)
    return prepare_translation(
        tokenizer,
        cast("tuple[TranslationItem, ...]", items),
        shots=[(source[line], target[line]) for line in shot_lines(spec)],
        source=spec.sides[0],
        target=spec.sides[1],
        batch_tokens=batch_tokens,
        max_positions=model.max_positions,
        max_new_tokens=spec.max_new_tokens,
    )
