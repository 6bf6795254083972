"""Import scores of stored outputs: an evaluation with the metric of the scores, and its comparisons.

The evaluation has the outputs of the one that was scored, and the scores as a column of its predictions, as shares of
their range. Its id covers the scores. It is compared with everything that the scored evaluation was compared with and
that has scores of the same metric, in this import or in an earlier one. No model runs.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mlprune.capabilities.outside_scores.score_files import Place, ScoreRange, read_scores
from mlprune.errors import BadInputError
from mlprune.evaluation.scoring.translation import Translations
from mlprune.evaluation.task_metrics import FROM_OUTSIDE, METRICS, outside_metric_id
from mlprune.hashing import digest
from mlprune.steps.evaluate.results import KIND, read_predictions, stated_n_longer, write_evaluation
from mlprune.steps.rescore.rescore import compare_successors, identity_of_rescored
from mlprune.steps.tasks.evaluation import EvaluationSpec
from mlprune.steps.tasks.task_spec import TaskSpec, task_spec
from mlprune.store.record_kinds import RECORD_KINDS
from mlprune.store.records import Record
from mlprune.store.store import Store

SCORES = "outside_scores"
"""Name of the scores among the contents of an evaluation."""
MOST_LISTED = 5
_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,39}")

FindVariant = Callable[[str], str]
"""Returns the id of the variant with a label, a name or an id."""


@dataclass(frozen=True)
class ImportedScores:
    """Result of an import."""

    evaluation_ids: tuple[str, ...]
    """Ids of the evaluations with scores, including those that already existed."""
    tasks: tuple[str, ...]
    """Their tasks, each once."""
    n_items: int
    """Number of scores."""
    n_new: int
    """Number of evaluations written."""
    n_compared: int
    """Number of comparisons written."""


@dataclass(frozen=True)
class _Scored:
    """A stored evaluation, and the scores of its items."""

    record: Record
    task: TaskSpec
    predictions: Translations
    """With the scores."""
    new: EvaluationSpec


def import_scores(
    store: Store, path: Path, name: str, *, scores: ScoreRange, find_variant: FindVariant
) -> ImportedScores:
    """Import the scores of a file. Everything is checked before the first record is written.

    Args:
        name: of the metric.
    Raises:
        BadInputError: the file or the name is not usable, a row names no evaluation with generated outputs or several,
            items lack scores, or they have other scores of this metric already.
    """
    if not _NAME.fullmatch(name) or name in METRICS:
        expected = "lower-case letters, digits, `.`, `_` and `-`, and none of mlprune's own metrics"
        raise BadInputError("not a name for scores from outside", expected=expected, got=name)
    metric = outside_metric_id(name, worst=scores.worst, best=scores.best)
    stored = _generated(store)
    scored: dict[str, _Scored] = {}
    for place, of_items in read_scores(path, scores).items():
        record = _record_at(place, stored, find_variant)
        if record.id in scored:
            raise BadInputError("two groups of rows score the same evaluation", path=str(path), got=place.given)
        scored[record.id] = _scored(store, record, of_items, metric=metric, path=path)
    earlier = _earlier(store, metric)
    for one in scored.values():
        _check_no_other_scores(one, earlier, name=name)
    n_new = sum(_write(store, one) for one in scored.values())
    successors = {**earlier, **{one.record.id: one.new for one in scored.values()}}
    ids = tuple(one.new.identity.id for one in scored.values())
    n_items = sum(len(one.predictions.example_ids) for one in scored.values())
    tasks = tuple(dict.fromkeys(one.task.task for one in scored.values()))
    return ImportedScores(ids, tasks, n_items, n_new, compare_successors(store, successors))


def _generated(store: Store) -> list[tuple[Record, TaskSpec]]:
    """Return the stored evaluations with generated outputs that are not rescored."""
    version = RECORD_KINDS[KIND].version
    current = (record for record in store.records(KIND) if record.step_version == version)
    specs = ((record, task_spec(record.parameters)) for record in current)
    return [(record, spec) for record, spec in specs if spec.is_generated and not spec.metrics]


def _record_at(place: Place, stored: list[tuple[Record, TaskSpec]], find_variant: FindVariant) -> Record:
    """Return the one evaluation that rows are about."""
    variant_id = find_variant(place.variant) if place.variant else None
    found = [
        record
        for record, spec in stored
        if place.evaluation_id in ("", record.id)
        and variant_id in (None, str(record.parents["variant"]))
        and all(given in ("", known) for given, known in _places(place, spec))
    ]
    if not found:
        next_step = "mlprune query \"SELECT evaluation_id, example_id FROM item_answers('translation')\""
        message = "no stored evaluation has generated outputs there"
        raise BadInputError(message, expected="an evaluation of the store", got=place.given, next=next_step)
    if len(found) > 1:
        expected = "columns task, language and split, or evaluation_id, that name one"
        several = [record.id for record in found[:MOST_LISTED]]
        raise BadInputError(
            "several evaluations fit a row", expected=expected, got=place.given, n=len(found), several=several
        )
    return found[0]


def _places(place: Place, spec: TaskSpec) -> Iterator[tuple[str, str]]:
    return zip((place.task, place.language, place.split), (spec.task, spec.language, spec.split), strict=True)


def _scored(store: Store, record: Record, of_items: Mapping[str, float], *, metric: str, path: Path) -> _Scored:
    """Join scores with the outputs of an evaluation."""
    task = task_spec(record.parameters)
    predictions = read_predictions(store, task, record.artefacts[0])
    assert isinstance(predictions, Translations), "outputs are generated"
    known = set(predictions.example_ids)
    missing = [item for item in predictions.example_ids if item not in of_items]
    unknown = [item for item in of_items if item not in known]
    if missing or unknown:
        place = {"path": str(path), "evaluation": record.id, "language": task.language}
        message = "items lack scores" if missing else "scores of items that the evaluation does not have"
        listed = (missing or unknown)[:MOST_LISTED]
        expected = f"a score for each of its {len(known)} items, and no others"
        raise BadInputError(message, place, expected=expected, n=len(missing or unknown), items=listed)
    values = np.array([of_items[item] for item in predictions.example_ids], dtype=np.float64)
    identity = identity_of_rescored(record, replace(task, metrics=(metric,)))
    contents = {**identity.contents, SCORES: digest(values.tolist())}
    new = EvaluationSpec(replace(identity, contents=contents), replace(task, metrics=(metric,)))
    return _Scored(record, task, replace(predictions, measures={**predictions.measures, FROM_OUTSIDE: values}), new)


def _earlier(store: Store, metric: str) -> dict[str, EvaluationSpec]:
    """Return id of an evaluation -> the one with its scores, of earlier imports of a metric."""
    found = {}
    for record in store.records(KIND):
        task = task_spec(record.parameters)
        if task.metrics == (metric,) and SCORES in record.contents:
            identity = identity_of_rescored(record, task)
            contents = {name: sha256 for name, sha256 in record.contents.items() if name != SCORES}
            source = replace(identity_of_rescored(record, replace(task, metrics=())), contents=contents)
            found[source.id] = EvaluationSpec(identity, task)
    return found


def _check_no_other_scores(scored: _Scored, earlier: Mapping[str, EvaluationSpec], *, name: str) -> None:
    known = earlier.get(scored.record.id)
    if known is not None and known.identity.id != scored.new.identity.id:
        message = "these items have other scores of this metric already"
        expected = f"the same scores, or another name than {name} for those of another version"
        raise BadInputError(message, expected=expected, evaluation=scored.record.id, got=known.identity.id)


def _write(store: Store, scored: _Scored) -> bool:
    """Write one evaluation unless it exists; return whether it was written."""
    if store.has_record(*scored.new.identity.key):
        return False
    variant_id, n_longer = str(scored.record.parents["variant"]), stated_n_longer(scored.record)
    write_evaluation(store, scored.new, variant_id, predictions=scored.predictions, n_longer=n_longer)
    return True
