"""Write and read the results of an evaluation, and adopt predictions of an earlier version.

Adoption of predictions: evaluations whose model ran under an earlier version, which recorded less about the items.

A version of the kind `evaluations` that computes other statistics, or other clusters, needs no other predictions. The
record of the same parameters, parents and contents is found by its id, since ids follow from what they identify.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from mlprune.errors import DamagedArtefactError
from mlprune.evaluation.inference.estimates import Chance, MetricValue, chance_of, estimate_columns, limit_reached
from mlprune.evaluation.inference.methods import measure
from mlprune.evaluation.scoring.generated_answers import Answers
from mlprune.evaluation.scoring.predictions import Predictions
from mlprune.evaluation.scoring.translation import Translations
from mlprune.evaluation.task_metrics import Metric, task_metrics
from mlprune.evaluation.tasks.items import ItemGroup
from mlprune.json_values import JsonValue
from mlprune.steps.job import Identity, ModelJob, ModelRef, RecordKey
from mlprune.steps.tasks.evaluation import GROUPS, EvaluationSpec, task_data
from mlprune.steps.tasks.stored_items import items_identity
from mlprune.steps.tasks.task_spec import TaskSpec
from mlprune.store.record_kinds import RECORD_KINDS
from mlprune.store.records import Artefact, Record
from mlprune.store.store import Store
from mlprune.vocabulary import METRIC_TRAITS

logger = logging.getLogger(__name__)
StoredPredictions = Predictions | Translations
"""Content of a predictions file."""
KIND = "evaluations"
ADOPTED_VERSIONS = (5, 4)
"""Earlier versions with the same predictions, the newest first."""
FIRST_WITH_GROUPS = 5
"""Clusters and categories are in no id of an earlier version."""


@dataclass(frozen=True)
class TasksJob(ModelJob):
    """Base of the jobs that run a model on tasks and write one record per task. A killed job resumes with the rest."""

    model: ModelRef
    evaluations: tuple[EvaluationSpec, ...]

    @property
    def chain_model(self) -> ModelRef:
        """The model."""
        return self.model

    @property
    def makes(self) -> tuple[RecordKey, ...]:
        """The evaluations."""
        return tuple(evaluation.identity.key for evaluation in self.evaluations)

    @property
    def work(self) -> str:
        """The evaluations."""
        return work_text(self.evaluations)


def work_text(evaluations: Sequence[EvaluationSpec]) -> str:
    """Describe evaluations in one line: task, language and split of each."""
    tasks = (evaluation.task for evaluation in evaluations)
    return ", ".join(dict.fromkeys(f"{task.task} {task.language} {task.split}" for task in tasks))


def predictions_by_language(store: Store, evaluations: Iterable[EvaluationSpec]) -> dict[str, StoredPredictions]:
    """Return language -> predictions of the evaluations of one task and split."""
    return {evaluation.task.language: predictions_of(store, evaluation) for evaluation in evaluations}


def read_predictions(store: Store, spec: TaskSpec, artefact: Artefact) -> StoredPredictions:
    """Read stored predictions."""
    columns = store.read_table(artefact)
    if spec.is_generated:
        return (Answers if spec.definition.generates else Translations).from_columns(columns)
    return Predictions.from_columns(columns, rule=spec.rule, profile=spec.profile)


def predictions_of(store: Store, evaluation: EvaluationSpec) -> StoredPredictions:
    """Read the predictions of an evaluation.

    Raises:
        StoreError: the evaluation has no record.
    """
    record = store.require(*evaluation.identity.key)
    return read_predictions(store, evaluation.task, record.artefacts[0])


def on_shared_items(
    task: TaskSpec, first: StoredPredictions, second: StoredPredictions
) -> tuple[StoredPredictions, StoredPredictions]:
    """Return two evaluations of a task on the items that both were evaluated on, paired by ids and right candidates.

    If items that are longer than the model are left out, two models can leave out different ones.
    """
    if task.longer != "skip" or first.item_keys == second.item_keys:
        return first, second
    shared = frozenset(name for name, _ in frozenset(first.item_keys) & frozenset(second.item_keys))
    return first.select(shared), second.select(shared)


def write_evaluation(
    store: Store,
    evaluation: EvaluationSpec,
    variant_id: str,
    *,
    predictions: StoredPredictions,
    n_longer: int | None = None,
) -> Record:
    """Store predictions, then write and return the record with their metrics.

    Args:
        n_longer: number of items that are longer than the model and were left out or cut; None if that is refused.
    """
    path = f"predictions/{evaluation.identity.id}.parquet"
    artefact = store.write_table(path, predictions.columns(), predictions.schema)
    rows = evaluation_rows(evaluation, variant_id, predictions=predictions, n_longer=n_longer)
    record = evaluation.identity.record(artefacts=(artefact,), rows=rows)
    store.write_record(record)
    return record


def stated_n_longer(record: Record) -> int | None:
    """Return the number of longer items that the record of an evaluation states, which predictions do not show."""
    n_longer = next((row.get("n_longer") for row in record.rows.get("evaluations", ())), None)
    return n_longer if isinstance(n_longer, int) else None


def evaluation_rows(
    evaluation: EvaluationSpec, variant_id: str, *, predictions: StoredPredictions, n_longer: int | None = None
) -> dict[str, list[dict[str, JsonValue]]]:
    """Return catalog table -> rows that follow from the predictions of an evaluation, and `n_longer` as it is."""
    row = _row(evaluation, variant_id, n_examples=len(predictions.example_ids))
    return {
        "evaluations": [row if n_longer is None else {**row, "n_longer": n_longer}],
        "metrics": _metric_rows(evaluation, variant_id, predictions=predictions),
    }


def _row(evaluation: EvaluationSpec, variant_id: str, *, n_examples: int) -> dict[str, JsonValue]:
    return {
        "evaluation_id": evaluation.identity.id,
        "variant_id": variant_id,
        **evaluation.task.columns,
        **evaluation.task.protocol.columns,
        "n_examples": n_examples,
        "items_id": items_identity(evaluation.task, evaluation.identity.contents).id,
    }


def _metric_rows(
    evaluation: EvaluationSpec, variant_id: str, *, predictions: StoredPredictions
) -> list[dict[str, JsonValue]]:
    """Compute every metric of the task with its interval and, where guessing has a value, the test against chance."""
    spec = evaluation.task
    metrics = metrics_of(spec, predictions)
    values = measure(metrics, predictions)
    keys: dict[str, JsonValue] = {
        "evaluation_id": evaluation.identity.id,
        "variant_id": variant_id,
        "task": spec.task,
        "language": spec.language,
        "split": spec.split,
    }
    return [
        {**keys, **_metric_columns(metric, values[metric.name], chance_of(metric, predictions))} for metric in metrics
    ]


def metrics_of(spec: TaskSpec, *predictions: StoredPredictions) -> tuple[Metric, ...]:
    """Return the metrics of a task, and those of what all of some predictions measure in addition."""
    names = spec.metrics
    measured = [set(one.measures) for one in predictions]
    if not names and (shared := set.intersection(*measured)):
        names = (*spec.definition.metrics, *(name for name, one in METRIC_TRAITS.items() if one.measure in shared))
    return task_metrics(spec.definition, spec.target_language, names=names)


def _metric_columns(metric: Metric, value: MetricValue, chance: Chance | None) -> dict[str, JsonValue]:
    return {
        "metric": metric.name,
        "value": value.value,
        **estimate_columns(value),
        "n": value.n,
        "chance": None if chance is None else chance.value,
        "p_chance": None if chance is None else chance.p_value,
        "limit_reached": limit_reached(metric, value, chance),
        "higher_is_better": metric.higher_is_better,
        "signature": metric.signature,
    }


def earlier_ids(evaluation: Identity, *, groups: str = "") -> tuple[str, ...]:
    """Return the ids under which the predictions of an evaluation may be stored, the newest version first.

    Each version has up to three: that of today's files, that with one category of each item, and that of files that did
    not state clusters and categories yet.

    Args:
        groups: `TaskData.earlier_groups_sha256` of the items; empty if they have no groups.
    """
    earlier = without_groups(evaluation)
    with_groups = [evaluation, replace(evaluation, contents={**evaluation.contents, GROUPS: groups})] if groups else []
    ids = (
        identity.id_in(version)
        for version in (RECORD_KINDS[KIND].version, *ADOPTED_VERSIONS)
        for identity in ((*(with_groups or [evaluation]), earlier) if version >= FIRST_WITH_GROUPS else (earlier,))
    )
    return tuple(record_id for record_id in dict.fromkeys(ids) if record_id != evaluation.id)


def without_groups(evaluation: Identity) -> Identity:
    """Return the identity of an evaluation of files that do not state clusters and categories."""
    contents = {name: sha256 for name, sha256 in evaluation.contents.items() if name != GROUPS}
    return replace(evaluation, contents=contents)


def adopt(store: Store, evaluation: EvaluationSpec, variant_id: str) -> bool:
    """Write an evaluation from the predictions of an earlier version, if the store has them; return whether it has.

    The clusters and categories are those of the items. The files are those that the model would have written.
    """
    data = task_data(evaluation.task)
    for record_id in earlier_ids(evaluation.identity, groups=data.earlier_groups_sha256):
        record = store.read_record(KIND, record_id)
        if record is None or not store.is_complete(record):
            continue
        try:
            predictions = read_predictions(store, evaluation.task, record.artefacts[0])
        except DamagedArtefactError as err:
            logger.warning("evaluation %s is not adopted: %s", record_id, err)
            continue
        groups = {item.example_id: ItemGroup(item.cluster, item.category) for item in data.items}
        write_evaluation(store, evaluation, variant_id, predictions=predictions.with_groups(groups))
        return True
    return False


def adoptable_ids(evaluations: Iterable[EvaluationSpec], store: Store) -> frozenset[str]:
    """Return the ids of those evaluations without a record that an earlier version has; costs one listing."""
    present = store.record_ids(KIND).get(KIND, set())
    missing = (evaluation for evaluation in evaluations if evaluation.identity.id not in present)
    return frozenset(
        evaluation.identity.id
        for evaluation in missing
        if not present.isdisjoint(
            earlier_ids(evaluation.identity, groups=task_data(evaluation.task).earlier_groups_sha256)
        )
    )
