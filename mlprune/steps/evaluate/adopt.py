"""Adoption of predictions: evaluations whose model ran under an earlier version, which recorded less about the items.

A version of the kind `evaluations` that computes other statistics, or other clusters, needs no other predictions. The
record of the same parameters, parents and contents is found by its id, since ids follow from what they identify.
"""

import logging
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from mlprune.errors import DamagedArtefactError
from mlprune.evaluation.tasks.item_groups import ItemGroup
from mlprune.steps.evaluate.evaluation import EvaluationSpec
from mlprune.steps.evaluate.results import read_predictions, write_evaluation
from mlprune.steps.evaluate.task_items import GROUPS, task_data
from mlprune.steps.job import Identity
from mlprune.store.record_kinds import RECORD_KINDS
from mlprune.store.store import Store

logger = logging.getLogger(__name__)

KIND = "evaluations"
ADOPTED_VERSIONS = (5, 4)
"""Earlier versions with the same predictions, the newest first."""
FIRST_WITH_GROUPS = 5
"""Clusters and categories are in no id of an earlier version."""


def earlier_ids(evaluation: Identity) -> tuple[str, ...]:
    """Return the ids under which the predictions of an evaluation may be stored, the newest version first.

    Each version has two: that of today's files, and that of files that did not state clusters and categories yet.
    """
    earlier = without_groups(evaluation)
    ids = (
        identity.id_in(version)
        for version in (RECORD_KINDS[KIND].version, *ADOPTED_VERSIONS)
        for identity in ((evaluation, earlier) if version >= FIRST_WITH_GROUPS else (earlier,))
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
    for record_id in earlier_ids(evaluation.identity):
        record = store.read_record(KIND, record_id)
        if record is None or not store.is_complete(record):
            continue
        try:
            predictions = read_predictions(store, evaluation.task, record.artefacts[0])
        except DamagedArtefactError as err:
            logger.warning("evaluation %s is not adopted: %s", record_id, err)
            continue
        items = task_data(evaluation.task).items
        groups = {item.example_id: ItemGroup(item.cluster, item.category) for item in items}
        write_evaluation(store, evaluation, variant_id, predictions=predictions.with_groups(groups))
        return True
    return False


def adoptable_ids(evaluations: Iterable[EvaluationSpec], store: Store) -> frozenset[str]:
    """Return the ids of those evaluations without a record that an earlier version has; costs one listing."""
    present = store.record_ids(KIND).get(KIND, set())
    return frozenset(_adoptable(evaluations, present))


def _adoptable(evaluations: Iterable[EvaluationSpec], present: Collection[str]) -> Iterator[str]:
    for evaluation in evaluations:
        if evaluation.identity.id not in present and any(map(present.__contains__, earlier_ids(evaluation.identity))):
            yield evaluation.identity.id
