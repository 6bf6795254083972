"""Step `evaluate`: one variant x its tasks, languages and splits -> predictions and metrics.

The masks of the variant go on the chain once; every evaluation is a record of its own, so a killed job does only what
is left. Tokenised items and their batches are the same for every variant and stay in memory.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, cast

from mlprune.evaluation.classify import Predictions, PreparedTask, prediction_rows, prepare, run
from mlprune.evaluation.files import TaskData, corpus_items, read_items
from mlprune.evaluation.measures import HasExamples, measure
from mlprune.evaluation.task_metrics import task_metrics
from mlprune.evaluation.tasks import TASKS, TranslationItem, prompt_language
from mlprune.evaluation.translate import PreparedTranslation, Translations, prepare_translation, run_translation
from mlprune.models.chain import Chain
from mlprune.models.loading import load_tokenizer
from mlprune.pruning.mask_files import stored_keep_masks
from mlprune.pruning.weight_files import stored_weights
from mlprune.records import Artefact, ordered_by_hash
from mlprune.steps.demonstrate import CorpusRef, open_corpus
from mlprune.steps.jobs import ChainLoader, Identity, Job, ModelRef, RecordKey
from mlprune.steps.variants import mask_artefacts, weight_artefacts
from mlprune.storage import Store
from mlprune.terms import SplitName, TaskName

CHOICE_SCHEMA = {
    "example_id": "string",
    "candidate_index": "int32",
    "candidate": "string",
    "is_gold": "bool",
    "log_likelihood": "double",
    "n_tokens": "int64",
}
TRANSLATION_SCHEMA = {"example_id": "string", "prompt": "string", "output": "string", "reference": "string"}
"""Columns of the two kinds of predictions file."""


@dataclass(frozen=True)
class TaskSpec:
    """One task, language and split as plain values."""

    task: TaskName
    language: str
    """A language, or a pair such as `fr-en` for translation."""
    split: str
    limit: int | None
    seed: int
    folder: str
    """Folder of task files; empty where the corpus is read."""
    corpus: CorpusRef | None
    """Parallel text the task reads, for perplexity, translation and built-in facts."""
    halves: bool
    """Whether `split` is a half of the corpus, by hash, rather than a name of files."""
    shots: int = 0
    max_new_tokens: int = 0
    sides: tuple[str, ...] = ()
    """Source and target language of translation."""

    @property
    def parameters(self) -> dict[str, Any]:
        """What was chosen, for the id: neither folders nor names of files."""
        values = asdict(self)
        del values["folder"], values["corpus"], values["sides"]
        return {**values, "scoring_rule": TASKS[self.task].scoring_rule}


@dataclass(frozen=True)
class EvaluationSpec:
    """One evaluation of one variant."""

    identity: Identity
    task: TaskSpec


@cache
def task_data(spec: TaskSpec) -> TaskData:
    """The items of a task, read and checked.

    Raises:
        TaskFileError: the files or the corpus do not hold them.
    """
    options: dict[str, Any] = {"limit": spec.limit, "seed": spec.seed}
    if spec.corpus is None:
        return read_items(spec.task, Path(spec.folder), language=spec.language, split=spec.split, **options)
    languages = spec.sides or (spec.language,)
    lines = {} if spec.task == "facts" else {one: open_corpus(spec.corpus).lines(one) for one in languages}
    half = cast("SplitName", spec.split) if spec.halves else None
    target = languages[1] if len(languages) > 1 else None
    return corpus_items(spec.task, lines, language=languages[0], target=target, split=half, **options)


def shot_lines(spec: TaskSpec) -> tuple[int, ...]:
    """Corpus lines of a translation prompt's shots: the first of the seeded order that are not under evaluation."""
    assert spec.corpus is not None, "translation reads a corpus"
    evaluated = {item.example_id for item in task_data(spec).items}
    n_lines = len(open_corpus(spec.corpus).lines(spec.sides[0]))
    free = (line for line in range(n_lines) if str(line) not in evaluated)
    return tuple(ordered_by_hash(spec.seed, free)[: spec.shots])


@cache
def prepared_task(spec: TaskSpec, model: ModelRef, batch_tokens: int) -> PreparedTask | PreparedTranslation:
    """The items tokenised and cut into batches, for all variants.

    Raises:
        TaskFileError: a text does not fit the model's positions.
    """
    tokenizer = load_tokenizer(Path(model.path))
    items: Any = task_data(spec).items
    limits: dict[str, Any] = {"batch_tokens": batch_tokens, "max_positions": model.max_positions}
    if spec.task != "translation":
        return prepare(tokenizer, items, **limits)
    assert spec.corpus is not None, "translation reads a corpus"
    source, target = (open_corpus(spec.corpus).lines(side) for side in spec.sides)
    return prepare_translation(
        tokenizer,
        cast("tuple[TranslationItem, ...]", items),
        shots=[(source[line], target[line]) for line in shot_lines(spec)],
        source=spec.sides[0],
        target=spec.sides[1],
        max_new_tokens=spec.max_new_tokens,
        **limits,
    )


def put_masks_on(chain: Chain, store: Store, variant_id: str) -> None:
    """Turn the chain's model into a variant: each shard reads the masks of its own blocks from the store."""
    chain.everywhere("set_keep_masks", None)
    record = store.require("variants", variant_id)
    level = record.rows["variants"][0]["level"]
    weights = weight_artefacts(record)
    for block, masks in enumerate(mask_artefacts(record)):
        if weights:
            chain.on_block(block, "rewrite_block", block, stored_weights, store.uri, masks, weights[block])
        else:
            chain.on_block(block, "prune_block", block, stored_keep_masks, store.uri, masks, level)


def read_predictions(store: Store, task: TaskName, artefact: Artefact) -> HasExamples:
    """Stored predictions as what metrics are computed on."""
    columns = store.read_table(artefact)
    return Translations.from_columns(columns) if task == "translation" else Predictions.from_columns(columns)


@dataclass(frozen=True)
class EvaluateJob(Job):
    """Evaluate one variant on everything the recipe asks of it."""

    step: ClassVar[str] = "evaluate"
    needs_chain: ClassVar[bool] = True
    model: ModelRef
    variant_id: str
    evaluations: tuple[EvaluationSpec, ...]
    batch_tokens: int

    @property
    def makes(self) -> tuple[RecordKey, ...]:
        """The evaluations."""
        return tuple(evaluation.identity.key for evaluation in self.evaluations)

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The variant."""
        return (("variants", self.variant_id),)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Put the masks on and evaluate what has no record yet."""
        model = chain()
        put_masks_on(model, store, self.variant_id)
        for evaluation in self.evaluations:
            record = store.read_record(*evaluation.identity.key)
            if record is None or not store.is_complete(record):
                self._evaluate(store, model, evaluation)

    def _evaluate(self, store: Store, model: Chain, evaluation: EvaluationSpec) -> None:
        """Run one evaluation and write it down."""
        spec = evaluation.task
        prepared = prepared_task(spec, self.model, self.batch_tokens)
        if isinstance(prepared, PreparedTask):
            scores = run(model, prepared)
            predictions: HasExamples = Predictions.from_scores(prepared.items, scores)
            rows, schema = prediction_rows(prepared.items, scores), CHOICE_SCHEMA
        else:
            outputs = run_translation(model, load_tokenizer(Path(self.model.path)), prepared)
            predictions = Translations.from_outputs(outputs)
            rows, schema = [vars(output) for output in outputs], TRANSLATION_SCHEMA
        columns = {name: [row[name] for row in rows] for name in schema}
        artefact = store.write_table(f"predictions/{evaluation.identity.id}.parquet", columns, schema)
        catalog_rows = {
            "evaluations": [self._row(evaluation, len(predictions.example_ids))],
            "metrics": self._metric_rows(evaluation, predictions),
        }
        store.write_record(evaluation.identity.record(artefacts=(artefact,), rows=catalog_rows))

    def _row(self, evaluation: EvaluationSpec, n_examples: int) -> dict[str, Any]:
        spec = evaluation.task
        return {
            **self._place(evaluation),
            "scoring_rule": TASKS[spec.task].scoring_rule,
            "prompt_language": prompt_language(spec.task, spec.language),
            "example_limit": spec.limit,
            "n_examples": n_examples,
        }

    def _metric_rows(self, evaluation: EvaluationSpec, predictions: HasExamples) -> list[dict[str, Any]]:
        """Every metric of the task, with its interval."""
        rows = []
        for metric in task_metrics(evaluation.task.task, target_language(evaluation.task)):
            found = measure(metric, predictions)
            rows.append({**self._place(evaluation), "metric": metric.name, **vars(found)})
        return rows

    def _place(self, evaluation: EvaluationSpec) -> Mapping[str, Any]:
        """The columns that say what was evaluated."""
        return {
            "evaluation_id": evaluation.identity.id,
            "variant_id": self.variant_id,
            "task": evaluation.task.task,
            "language": evaluation.task.language,
            "split": evaluation.task.split,
        }


def target_language(spec: TaskSpec) -> str:
    """The language the model writes or judges, which metrics may depend on."""
    return spec.sides[1] if spec.sides else spec.language
