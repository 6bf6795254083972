"""A store with evaluations whose right answers a test chooses, and the job that chooses among their variants."""

from collections.abc import Mapping, Sequence

from mlprune.steps.choices.choice import Candidate, ChoiceJob
from mlprune.steps.choices.outcome import items_key
from mlprune.steps.evaluate.results import write_evaluation
from mlprune.steps.job import Identity, make_identity
from mlprune.steps.tasks.evaluation import EvaluationSpec
from mlprune.steps.tasks.stored_items import CHOICE_SCHEMA, items_identity
from mlprune.steps.tasks.task_spec import TaskSpec
from mlprune.store.store import Store
from tests.plain_inference import answers

Right = Mapping[str, Mapping[str, Sequence[float]]]
"""Split -> language -> right answers."""


def item_ids(split: str, n: int) -> list[str]:
    """Ids of the items of a split."""
    return [f"{split}{number}" for number in range(n)]


def evaluation_of(variant_id: str, language: str, split: str) -> EvaluationSpec:
    """Return one evaluation of a variant on facts."""
    task = TaskSpec("facts", language, split)
    contents = {"items": f"{language} {split}"}
    identity = make_identity("evaluations", task.parameters, parents={"variant": variant_id}, contents=contents)
    return EvaluationSpec(identity, task)


def write_candidate(store: Store, variant_id: str, right: Right, *, cluster: Mapping[str, str]) -> Candidate:
    """Store the evaluations of a variant and the items of their splits.

    Args:
        cluster: id of an item -> its cluster; an item without one is its own.
    """
    evaluations: dict[str, dict[str, EvaluationSpec]] = {"dev": {}, "test": {}}
    for split, by_language in right.items():
        for language, of_language in by_language.items():
            ids = item_ids(split, len(of_language))
            clusters = [cluster.get(name, name) for name in ids]
            evaluation = evaluation_of(variant_id, language, split)
            write_evaluation(store, evaluation, variant_id, predictions=answers(of_language, clusters, ids=ids))
            _write_items(store, evaluation, ids, clusters=clusters)
            evaluations[split][language] = evaluation
    return Candidate(variant_id, **evaluations)


def _write_items(store: Store, evaluation: EvaluationSpec, ids: Sequence[str], *, clusters: Sequence[str]) -> None:
    texts = ["the same text" if name.endswith("9") else name for name in ids]
    rows = [(name, 0, "a", text, True, cluster, "") for name, text, cluster in zip(ids, texts, clusters, strict=True)]
    columns = {name: list(values) for name, values in zip(CHOICE_SCHEMA, zip(*rows, strict=True), strict=True)}
    identity = items_identity(evaluation.task, evaluation.identity.contents)
    assert items_key(evaluation) == identity.key
    artefact = store.write_table(f"items/{identity.id}.parquet", columns, CHOICE_SCHEMA)
    store.write_record(identity.record(artefacts=(artefact,)))


def job_of(candidates: Sequence[Candidate]) -> ChoiceJob:
    """Return the job that chooses among candidates."""
    return ChoiceJob(Identity("choices", {"n": len(candidates)}, {}, {}), "accuracy", tuple(candidates))
