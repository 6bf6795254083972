"""One evaluation of one variant: items of its task, shots, and interventions at run time.

An intervention is what a variant does at run time in one evaluation, to the model or to the examples. Each kind is
implemented next to the baseline that plans it. Most evaluations have none.
"""

from collections import defaultdict
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Protocol, cast

from mlprune.corpus.chat import ChatTemplate
from mlprune.corpus.sources import ParallelCorpus
from mlprune.corpus.templates import language_label
from mlprune.errors import TaskFileError
from mlprune.evaluation.scoring.batches import TextLimits
from mlprune.evaluation.scoring.candidates import Measures, PreparedTask, prepare
from mlprune.evaluation.scoring.generated_answers import prepare_questions
from mlprune.evaluation.scoring.translation import PreparedTranslation, prepare_references, prepare_translation
from mlprune.evaluation.tasks.items import ChoiceItem, ItemGroup, TranslationItem, published_examples
from mlprune.evaluation.tasks.task_files import Item, ItemSelection, TaskData, corpus_items, read_items
from mlprune.hashing import digest, ordered_by_hash
from mlprune.json_values import JsonObject, as_str
from mlprune.models.chain import Chain
from mlprune.models.loading import load_tokenizer
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.steps.inputs import open_corpus
from mlprune.steps.job import Identity, Job, JobCost, ModelRef, RecordKey
from mlprune.steps.tasks.task_spec import TaskSpec
from mlprune.store.store import Store

GROUPS = "groups"
"""Content of an id with the clusters and categories of the items."""
PUBLISHED_SHOT_LENGTH = 100
"""Characters that a source sentence must stay below to be a shot of profile `paper`."""
Families = dict[TaskSpec, dict[str, "EvaluationSpec"]]
"""Task without language -> language -> evaluation."""


def as_run(spec: TaskSpec) -> TaskSpec:
    """Return the part of a task that determines the model's work: equal for all rules, metrics and subsets.

    Also equal for both profiles if they have the same examples.
    """
    run = replace(spec, rule="mean", metrics=(), subset=None)
    if spec.profile == "corrected" or spec.sides:
        return run
    whole = replace(run, profile="corrected", limit=None)
    return whole if spec.limit is None or spec.limit >= len(task_data(whole).items) else run


def task_data(spec: TaskSpec) -> TaskData:
    """Read and check the items of a task.

    Raises:
        TaskFileError: the items are missing in the files or the corpus.
    """
    return _task_data(as_run(spec))


def item_contents(spec: TaskSpec) -> dict[str, str]:
    """Return the hashes of the items of a task for an id: of the rows, and of clusters and categories if there are any.

    Raises:
        TaskFileError: the items are missing in the files or the corpus.
    """
    data = task_data(spec)
    return {"items": data.content_sha256, **({GROUPS: data.groups_sha256} if data.groups_sha256 else {})}


@cache
def _task_data(spec: TaskSpec) -> TaskData:
    if spec.profile == "paper":
        data = _task_data(replace(spec, profile="corrected", limit=None, seed=0))
        return data if spec.limit is None else data.keep(published_examples(data.items, spec.limit))
    if spec.corpus is None:
        source = spec.hub or Path(spec.folder)
        selection = ItemSelection(spec.language, spec.split, spec.limit, spec.seed)
        return read_items(spec.localized_task, source, selection, aligned=spec.aligned)
    languages = spec.sides or (spec.language,)
    corpus = open_corpus(spec.corpus)
    lines = {} if spec.task == "facts" else {language: corpus.lines(language) for language in languages}
    return corpus_items(
        spec.task,
        lines,
        ItemSelection(languages[0], spec.split if spec.is_corpus_half else "", spec.limit, spec.seed),
        target=languages[1] if len(languages) > 1 else None,
        split_by=spec.split_by,
        documents=() if spec.task == "facts" else [ItemGroup(*document) for document in corpus.documents(languages[0])],
    )


def shot_lines(spec: TaskSpec) -> tuple[int, ...]:
    """Return the corpus lines of a prompt's shots: the first in seeded order that are not evaluated.

    Profile `paper` takes them in the order of the file and skips long source sentences, as the published code does.
    """
    lines, evaluated = shot_text(spec).lines(spec.sides[0]), _evaluated_lines(spec)
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
    pairs = zip(*(shot_text(spec).lines(side) for side in spec.sides), strict=True)
    return frozenset(line for line, (x, y) in enumerate(pairs) if x in sources or y in references)


def shot_text(spec: TaskSpec) -> ParallelCorpus:
    """Return the text that shots are taken from."""
    corpus = spec.shot_corpus or spec.corpus
    assert corpus is not None, "translation reads a corpus"
    return open_corpus(corpus)


def question_shots(spec: TaskSpec) -> tuple[TranslationItem, ...]:
    """Return the questions that a prompt shows with answers: the first in seeded order that are not evaluated.

    Raises:
        TaskFileError: the split of the shots is missing or wrong.
    """
    if not spec.shots:
        return ()
    source = replace(as_run(spec), split=spec.shot_split, limit=None, seed=0, shots=0, shot_seed=0, shot_split="")
    evaluated = {item.source for item in cast("tuple[TranslationItem, ...]", task_data(spec).items)}
    items = cast("tuple[TranslationItem, ...]", task_data(source).items)
    unused = {item.example_id: item for item in items if item.source not in evaluated}
    return tuple(unused[name] for name in ordered_by_hash(spec.shot_seed, unused)[: spec.shots])


def shot_contents(spec: TaskSpec) -> dict[str, str]:
    """Return the hash of another text that shots are taken from, for an id; nothing if there is none."""
    if spec.shot_split:
        return {"shots": digest([[shot.source, shot.reference] for shot in question_shots(spec)])}
    if spec.shot_corpus is None:
        return {}
    text = shot_text(spec)
    return {"shots": digest([text.content(side) for side in spec.sides])}


def prepared_task(spec: TaskSpec, model: ModelRef, batch_tokens: int) -> PreparedTask | PreparedTranslation:
    """Tokenise the items and divide them into batches, for all variants and rules.

    Raises:
        TaskFileError: a text does not fit the model's positions, if that is refused.
    """
    return _prepared_task(as_run(spec), model, batch_tokens)


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
    chat = None if spec.chat is None else ChatTemplate(tokenizer, spec.chat)
    limits = TextLimits(
        batch_tokens, model.max_positions, spec.longer, spec.max_new_tokens, model.device, model.runs_whole_texts
    )
    if not spec.is_generated:
        choices = cast("tuple[ChoiceItem, ...]", items)
        if chat is not None and spec.definition.reads == "sentences":
            choices = tuple(_labelled(item, spec.language) for item in choices)
        return prepare(tokenizer, choices, limits, chat=chat)
    rule, pairs = spec.definition.generates, cast("tuple[TranslationItem, ...]", items)
    if rule is not None:
        prompts = prepare_questions(tokenizer, pairs, rule, limits=limits, shots=question_shots(spec), chat=chat)
    else:
        source, target = (shot_text(spec).lines(side) for side in spec.sides)
        shots = [(source[line], target[line]) for line in shot_lines(spec)]
        sides = (spec.sides[0], spec.sides[1])
        prompts = prepare_translation(tokenizer, pairs, limits, shots=shots, pair=sides, chat=chat)
    if spec.max_new_tokens:
        return prompts
    between = "" if rule is not None and chat is not None else " "
    return prepare_references(tokenizer, prompts, limits, between=between, chat=chat)


def _labelled(item: ChoiceItem, language: str) -> ChoiceItem:
    """Return a sentence after the name of its language, which is the user's turn of its chat."""
    label = f"{language_label(language)}: "
    return replace(item, texts=tuple(label + text for text in item.texts), starts=(len(label),) * len(item.texts))


class Intervention(Protocol):
    """What happens at run time in one evaluation.

    Implementations are hashable: evaluations of equal task and intervention share one run of the model.
    """

    @property
    def parents(self) -> JsonObject:
        """Role -> ids of the records that the intervention reads, as the id of the evaluation contains them."""

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """Keys of these records."""

    def active(self, chain: Chain, store: Store) -> AbstractContextManager[None]:
        """Apply the intervention to the model of a chain until the context ends."""

    def prepared(
        self, store: Store, task: TaskSpec, model: ModelRef, *, batch_tokens: int
    ) -> PreparedTask | PreparedTranslation:
        """Return the items of the task under the intervention, tokenised and cut into batches.

        Raises:
            TaskFileError: a text does not fit the model's positions.
        """


@dataclass(frozen=True)
class NoIntervention:
    """The model and the examples stay as they are."""

    @property
    def parents(self) -> JsonObject:
        """None."""
        return {}

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """None."""
        return ()

    def active(self, chain: Chain, store: Store) -> AbstractContextManager[None]:
        """Change nothing."""
        return nullcontext()

    def prepared(
        self, store: Store, task: TaskSpec, model: ModelRef, *, batch_tokens: int
    ) -> PreparedTask | PreparedTranslation:
        """Return the items of the task."""
        return prepared_task(task, model, batch_tokens)


class Measurement(Protocol):
    """What an evaluation measures of each text in addition to its log-likelihood; a key of the recipe asks for it.

    Implementations are hashable, as those of `Intervention`.
    """

    @property
    def parents(self) -> JsonObject:
        """Role -> ids of the records that the measurement reads, as the id of the evaluation contains them."""

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """Keys of these records."""

    @property
    def jobs(self) -> tuple[Job, ...]:
        """The jobs that make these records."""

    def added_to(self, cost: JobCost, sizes: Footprint) -> JobCost:
        """Return the cost of an evaluation with the measurement."""

    def measures(self, store: Store) -> Measures:
        """Return what measures the batches of the task."""


@dataclass(frozen=True)
class EvaluationSpec:
    """One evaluation of one variant."""

    identity: Identity
    task: TaskSpec
    intervention: Intervention = field(default_factory=NoIntervention)
    """What the variant does at run time."""
    measurement: Measurement | None = None
    """What is measured in addition to log-likelihoods."""

    @property
    def variant_id(self) -> str:
        """The variant."""
        return as_str(self.identity.parents["variant"])


def families_of(evaluations: Iterable[EvaluationSpec]) -> Families:
    """Group evaluations that differ only in their language."""
    families: Families = defaultdict(dict)
    for evaluation in evaluations:
        families[evaluation.task.family][evaluation.task.language] = evaluation
    return dict(families)
