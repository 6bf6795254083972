"""Items of an evaluation with the model's answers, and their lines for every_eval_ever.

every_eval_ever: one JSON line per item of an evaluation, next to the log of its results.

Schema 0.3.0: `every_eval_ever/schemas/instance_level_eval.schema.json`, see `every_eval_ever`. A line belongs to one
number of the log: accuracy of tasks with candidates, exact_match of generated texts. A line has to say whether an
answer is right, so the texts of perplexity are left out.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from mlprune.capabilities.harness.every_eval_ever import SCHEMA_VERSION
from mlprune.errors import DamagedArtefactError
from mlprune.evaluation.scoring.generated_answers import Answers
from mlprune.evaluation.scoring.predictions import Predictions
from mlprune.evaluation.scoring.translation import Translations
from mlprune.evaluation.task_metrics import METRICS as TASK_METRICS_METRICS
from mlprune.evaluation.task_metrics import SHARED_TIES
from mlprune.json_values import JsonValue

METRICS = ("accuracy", "exact_match")
"""Metrics that are means over the items, with right answers."""
Columns = Mapping[str, Sequence[object]]
TOLERANCE = 1e-12
"""Largest difference of a stored accuracy from the mean of the items."""


@dataclass(frozen=True, kw_only=True)
class AnsweredItem:
    """One item, and what the model answered."""

    example_id: str
    question: str
    """With candidates: their texts, one a line, as the model reads them. Otherwise the source or the question."""
    reference: str
    candidates: tuple[str, ...]
    """Empty for generated texts."""
    chosen: tuple[str, ...]
    """Several candidates if their scores are equal."""
    credit: float
    """Part of the metric: its mean over the items is the value."""
    cluster: str
    category: str


@dataclass(frozen=True, kw_only=True)
class SampleKeys:
    """What the lines of one evaluation have in common."""

    evaluation_id: str
    """Of the log."""
    model_id: str
    name: str
    result_id: str
    """Of the number in the log."""
    method: str
    """How an answer was chosen."""


def sample_lines(items: Iterable[AnsweredItem], keys: SampleKeys) -> Iterator[str]:
    """Yield the lines of one evaluation, each with a line end. Numbers are read back bit by bit."""
    for item in items:
        yield json.dumps(_sample(item, keys), ensure_ascii=False, allow_nan=False) + "\n"


def _sample(item: AnsweredItem, keys: SampleKeys) -> dict[str, JsonValue]:
    answer = " | ".join(item.chosen)
    metadata = {"cluster": item.cluster, "category": item.category}
    return {
        "schema_version": SCHEMA_VERSION,
        "evaluation_id": keys.evaluation_id,
        "model_id": keys.model_id,
        "evaluation_name": keys.name,
        "evaluation_result_id": keys.result_id,
        "sample_id": item.example_id,
        "sample_hash": sha256((item.question + item.reference).encode()).hexdigest(),
        "interaction_type": "single_turn",
        "input": {
            "raw": item.question,
            "reference": [item.reference] if item.candidates else item.reference.split("\n"),
            "choices": list(item.candidates) or None,
        },
        "output": {"raw": list(item.chosen)},
        "answer_attribution": [
            {
                "turn_idx": 0,
                "source": "output.raw",
                "extracted_value": answer,
                "extraction_method": keys.method,
                "is_terminal": True,
            }
        ],
        "evaluation": {"score": item.credit, "is_correct": item.credit == 1.0},
        "metadata": {name: value for name, value in metadata.items() if value},
    }


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
    """Return the items of a task with generated texts; right means equal to the reference, or to an accepted answer.

    Args:
        predictions: columns of `TRANSLATION_SCHEMA` or `ANSWER_SCHEMA`.
        items: columns of the task's items.
    """
    read = (Answers if "answer" in predictions else Translations).from_columns(predictions)
    answers = read.answers if isinstance(read, Answers) else read.outputs
    sources = dict(zip(items.get("example_id", ()), items.get("source", ()), strict=True))
    credit = TASK_METRICS_METRICS["exact_match"].statistics(read)[:, 0]
    rows = zip(read.example_ids, answers, read.references, read.clusters, read.categories, credit, strict=True)
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
    for statistics in (TASK_METRICS_METRICS["accuracy"].statistics, SHARED_TIES["accuracy"]):
        credit = np.asarray(statistics(predictions)[:, 0], dtype=np.float64)
        if abs(float(credit.mean()) - accuracy) <= TOLERANCE:
            return credit
    got = float(np.mean(TASK_METRICS_METRICS["accuracy"].statistics(predictions)[:, 0]))
    raise DamagedArtefactError(
        "predictions do not give the accuracy of their evaluation",
        evaluation_id=evaluation_id,
        expected=accuracy,
        got=got,
        next="mlprune check store --deep",
    )


def _texts(items: Columns) -> dict[str, str]:
    """Return example id -> the texts of its candidates, one a line."""
    found: dict[str, list[str]] = {}
    for example, text in zip(items.get("example_id", ()), items.get("text", ()), strict=True):
        found.setdefault(str(example), []).append(str(text))
    return {example: "\n".join(dict.fromkeys(texts)) for example, texts in found.items()}
