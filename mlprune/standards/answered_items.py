"""Items of an evaluation with the model's answers, from stored predictions and items."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mlprune.errors import DamagedArtefactError
from mlprune.evaluation.scoring.predictions import Predictions
from mlprune.evaluation.scoring.translation import Translations
from mlprune.evaluation.task_metrics import METRICS, SHARED_TIES
from mlprune.standards.every_eval_ever_samples import AnsweredItem

Columns = Mapping[str, Sequence[object]]
TOLERANCE = 1e-12
"""Largest difference of a stored accuracy from the mean of the items."""


def answered_choices(
    predictions: Predictions, items: Columns, *, accuracy: float, evaluation_id: str
) -> list[AnsweredItem]:
    """Return the items of a task with candidates.

    Args:
        predictions: with the rule and profile of the evaluation.
        items: columns of the task's items; without any, a question is its right candidate.
        accuracy: stored value, which says whether candidates of equal score share the credit.
        evaluation_id: for the error.
    Raises:
        DamagedArtefactError: the predictions do not give the accuracy.
    """
    credit = _credit(predictions, accuracy, evaluation_id)
    texts = _texts(items)
    scores, starts = predictions.scores, predictions.starts.tolist()
    answered = []
    for index, example in enumerate(predictions.example_ids):
        rows = slice(starts[index], starts[index + 1])
        candidates, of_item = predictions.candidates[rows], scores[rows]
        best = np.flatnonzero(of_item == of_item.max()).tolist()
        gold = candidates[int(predictions.gold[index])]
        answered.append(
            AnsweredItem(
                example_id=example,
                question=texts.get(example, gold),
                reference=gold,
                candidates=tuple(candidates),
                chosen=tuple(candidates[one] for one in best),
                credit=float(credit[index]),
                cluster=predictions.clusters[index],
                category=predictions.categories[index],
            )
        )
    return answered


def answered_translations(predictions: Columns, items: Columns) -> list[AnsweredItem]:
    """Return the sentences of a translation task; right means equal to the reference.

    Args:
        predictions: columns of `TRANSLATION_SCHEMA`.
        items: columns of the task's items.
    """
    read = Translations.from_columns(predictions)
    sources = dict(zip(items.get("example_id", ()), items.get("source", ()), strict=True))
    credit = METRICS["exact_match"].statistics(read)[:, 0]
    rows = zip(read.example_ids, read.outputs, read.references, read.clusters, read.categories, credit, strict=True)
    return [
        AnsweredItem(
            example_id=example,
            question=str(sources.get(example, "")),
            reference=reference,
            candidates=(),
            chosen=(output,),
            credit=float(right),
            cluster=cluster,
            category=category,
        )
        for example, output, reference, cluster, category, right in rows
    ]


def _credit(predictions: Predictions, accuracy: float, evaluation_id: str) -> NDArray[np.float64]:
    """Return the credit of each item, by the rule for equal scores that gives the stored accuracy."""
    for statistics in (METRICS["accuracy"].statistics, SHARED_TIES["accuracy"]):
        credit = np.asarray(statistics(predictions)[:, 0], dtype=np.float64)
        if abs(float(credit.mean()) - accuracy) <= TOLERANCE:
            return credit
    got = float(np.mean(METRICS["accuracy"].statistics(predictions)[:, 0]))
    raise DamagedArtefactError(
        "predictions do not give the accuracy of their evaluation",
        evaluation_id=evaluation_id,
        expected=accuracy,
        got=got,
        next="mlprune catalog check --deep",
    )


def _texts(items: Columns) -> dict[str, str]:
    """Return example id -> the texts of its candidates, one a line."""
    found: dict[str, list[str]] = {}
    for example, text in zip(items.get("example_id", ()), items.get("text", ()), strict=True):
        found.setdefault(str(example), []).append(str(text))
    return {example: "\n".join(dict.fromkeys(texts)) for example, texts in found.items()}
