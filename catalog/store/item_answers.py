"""Answers of models to items, read from the predictions for a single query: the table of macro `item_answers`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from catalog.results import Row
from catalog.store.artefact_tables import artefact_of, read_columns
from mlprune.errors import PermanentError, QueryError
from mlprune.evaluation.scoring.predictions import Predictions
from mlprune.evaluation.tasks.registry import TASKS
from mlprune.store.store import Store

TEXTS = ("evaluation_id", "example_id", "cluster", "category", "chosen", "gold", "question")
SCHEMA = pa.schema([*((name, pa.string()) for name in TEXTS), ("is_right", pa.bool_()), ("margin", pa.float64())])
Columns = Mapping[str, Sequence[Any]]


def loaded_answers(store: Store, evaluations: Iterable[Row], *, items: Mapping[str, Row]) -> pa.Table:
    """Read the answers of evaluations.

    Args:
        evaluations: rows of the statement `answered`, each evaluation once.
        items: id of the items of a task -> row of `artefacts` with their file.
    Returns: one row per evaluation and item. Tasks without right answers, such as perplexity, have none.
    Raises:
        UnreadableFileError: a file is missing or damaged.
        QueryError: predictions have impossible values.
    """
    questions: dict[str, Mapping[str, str]] = {}
    pieces = [SCHEMA.empty_table()]
    for row in evaluations:
        items_id = row["items_id"]
        if items_id not in questions:
            questions[items_id] = (
                _questions(read_columns(store, artefact_of(items[items_id]))) if items_id in items else {}
            )
        answers = _answers(read_columns(store, artefact_of(row)), row)
        if answers:
            texts = [questions[items_id].get(example) for example in answers["example_id"]]
            n_items = len(texts)
            filled = {**answers, "evaluation_id": [row["evaluation_id"]] * n_items, "question": texts}
            pieces.append(pa.Table.from_pydict({name: filled[name] for name in SCHEMA.names}, schema=SCHEMA))
    return pa.concat_tables(pieces)


def _questions(columns: Columns) -> dict[str, str]:
    """Return example id -> its text with the right candidate, or the source of a translation."""
    if "source" in columns:
        return dict(zip(columns["example_id"], columns["source"], strict=True))
    rows = zip(columns["example_id"], columns["text"], columns["is_gold"], strict=True)
    return {example: text for example, text, is_gold in rows if is_gold}


def _answers(columns: Columns, row: Row) -> dict[str, Sequence[Any]]:
    """Return the columns of an evaluation's answers, except the evaluation and the question."""
    if "candidate_index" in columns:
        return _choices(columns, row)
    if "output" not in columns:
        return {}
    outputs, references = ([str(text).strip() for text in columns[name]] for name in ("output", "reference"))
    return {
        "example_id": columns["example_id"],
        "cluster": columns.get("cluster", columns["example_id"]),
        "category": columns.get("category", [""] * len(outputs)),
        "chosen": outputs,
        "gold": references,
        "is_right": [output == reference for output, reference in zip(outputs, references, strict=True)],
        "margin": [None] * len(outputs),
    }


def _choices(columns: Columns, row: Row) -> dict[str, Sequence[Any]]:
    """Compare the right candidate of each item with the best other one, as accuracy does."""
    try:
        predictions = Predictions.from_columns(columns, rule=row["scoring_rule"])
        scores, starts = predictions.scores, predictions.starts
    except (PermanentError, KeyError) as err:
        raise QueryError("predictions cannot be used", path=row["path"], reason=str(err)) from err
    firsts, sizes = starts[:-1], np.diff(starts)
    gold_rows = firsts + predictions.gold
    others = scores.copy()
    others[gold_rows] = -np.inf
    margins = scores[gold_rows] - np.maximum.reduceat(others, firsts)
    is_top = scores == np.repeat(np.maximum.reduceat(scores, firsts), sizes)
    best = [np.flatnonzero(is_top[start:stop]) + start for start, stop in zip(firsts, starts[1:], strict=True)]
    task = TASKS.get(row["task"])
    shares_ties = task is not None and task.ties == "shared"
    is_right = margins > 0 if shares_ties else np.array([rows[0] for rows in best]) == gold_rows
    names = predictions.candidates
    return {
        "example_id": predictions.example_ids,
        "cluster": predictions.clusters,
        "category": predictions.categories,
        "chosen": [" | ".join(names[index] for index in rows.tolist()) for rows in best],
        "gold": [names[index] for index in gold_rows.tolist()],
        "is_right": is_right.tolist(),
        "margin": [margin if np.isfinite(margin) else None for margin in margins.tolist()],
    }
