"""every_eval_ever: one JSON line per item of an evaluation, next to the log of its results.

Schema 0.3.0: `every_eval_ever/schemas/instance_level_eval.schema.json`, see `every_eval_ever`. A line belongs to one
number of the log: accuracy of tasks with candidates, exact_match of translations. A line has to say whether an answer
is right, so the texts of perplexity are left out.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256

from mlprune.json_values import JsonValue
from mlprune.standards.every_eval_ever import SCHEMA_VERSION

METRICS = ("accuracy", "exact_match")
"""Metrics that are means over the items, with right answers."""


@dataclass(frozen=True, kw_only=True)
class AnsweredItem:
    """One item, and what the model answered."""

    example_id: str
    question: str
    """With candidates: their texts, one a line, as the model reads them. Otherwise the text to translate."""
    reference: str
    candidates: tuple[str, ...]
    """Empty for translations."""
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
            "reference": [item.reference],
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
