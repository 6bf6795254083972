"""Answers of models to items: the calls of macro `item_answers`, and the predictions they read."""

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from catalog.results import Row, Value
from catalog.sql_files import statement
from mlprune.errors import DamagedArtefactError, PermanentError, QueryError, UnreadableFileError
from mlprune.evaluation.scoring.predictions import CHOICE_SCHEMA, Predictions
from mlprune.evaluation.tasks.registry import TASKS
from mlprune.store.records import Artefact
from mlprune.store.store import Store

ArrowTable: TypeAlias = pa.Table
PREDICTIONS = pa.Table.from_batches(  # empty_table() imports pandas, which a completion must not load
    [], schema=pa.schema([(name, pa.type_for_alias(kind)) for name, kind in CHOICE_SCHEMA.items()])
)
"""Predictions of a task with candidates, without rows: what queries read in addition to the catalog."""
MACRO = "item_answers"
TABLE = "loaded_answers"
"""Name of the table that the macro reads."""
ARGUMENTS = ("of_task", "of_split", "of_language", "of_variant")
TEXTS = ("evaluation_id", "example_id", "cluster", "category", "chosen", "gold", "question", "output")
SCHEMA = pa.schema([*((name, pa.string()) for name in TEXTS), ("is_right", pa.bool_()), ("margin", pa.float64())])
Columns = Mapping[str, Sequence[Any]]


def artefact_table(store: Store, files: Sequence[Row], *, folder: str, record_id: str) -> pa.Table:
    """Read the Parquet files that a record has in one folder of the store, and concatenate them.

    Args:
        files: rows of the catalog's table `artefacts`.
    Raises:
        QueryError: the record has no files, or one is missing or damaged.
    """
    artefacts = [artefact_of(row) for row in files]
    if not artefacts:
        raise QueryError(
            "no record with this id has files in this folder", id=record_id, folder=folder, expected="Parquet"
        )
    try:
        return pa.concat_tables([pq.read_table(io.BytesIO(store.read_bytes(artefact))) for artefact in artefacts])
    except (DamagedArtefactError, pa.ArrowException) as err:
        raise QueryError("a file that the query reads cannot be used", id=record_id, reason=str(err)) from err


def artefact_of(row: Row) -> Artefact:
    """Return the file that a row of the catalog's table `artefacts` describes."""
    return Artefact(row["path"], row["n_bytes"], row["sha256"], row["n_rows"])


def read_columns(store: Store, artefact: Artefact) -> Mapping[str, Sequence[Any]]:
    """Read the columns of a file that an answer needs.

    Raises:
        UnreadableFileError: the file is missing or damaged.
    """
    try:
        return store.read_table(artefact)
    except (DamagedArtefactError, OSError, ValueError) as err:
        raise UnreadableFileError(
            "a file that the query reads cannot be used", path=artefact.path, reason=str(err)
        ) from err


@dataclass(frozen=True)
class AnswerCall:
    """Arguments of one call."""

    task: str
    split: str = "test"
    language: str | None = None
    variant: str | None = None
    """Id or label of a variant, or `dense`; None for all."""


def answer_calls(tree: str, parameters: Mapping[str, Value]) -> list[AnswerCall]:
    """Find all calls in the syntax tree of a statement.

    Args:
        tree: as JSON, by DuckDB's `json_serialize_sql`.
        parameters: values of the statement's parameters.
    Raises:
        QueryError: an argument is unknown, or neither a text, NULL nor a parameter.
    """
    calls = []
    for node in _calls(json.loads(tree)):
        values: dict[str, str | None] = {}
        for name, argument in zip(ARGUMENTS, node["arguments"], strict=False):
            values[argument["name"] or name] = _value(argument["expression"], parameters)
        if unknown := sorted(values.keys() - set(ARGUMENTS)) or len(node["arguments"]) > len(ARGUMENTS):
            raise QueryError(f"an argument of {MACRO} is unknown", expected=list(ARGUMENTS), got=unknown)
        task, split = values.get("of_task"), values.get("of_split", "test")
        if task is None or split is None:
            raise QueryError(f"{MACRO} needs a task and a split", expected=f"{MACRO}('facts', of_split := 'test')")
        calls.append(AnswerCall(task, split, values.get("of_language"), values.get("of_variant")))
    return calls


def _calls(node: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the nodes of the macro's calls, in the order of the text."""
    if isinstance(node, Mapping):
        if node.get("function_name") == MACRO:
            yield node
        for child in node.values():
            yield from _calls(child)
    elif isinstance(node, Sequence) and not isinstance(node, str):
        for child in node:
            yield from _calls(child)


def _value(expression: Mapping[str, Any], parameters: Mapping[str, Value]) -> str | None:
    """Return the value of an argument."""
    kind = expression["class"]
    if kind == "CAST":
        return _value(expression["child"], parameters)
    if kind == "PARAMETER":
        value = parameters.get(expression["identifier"])
        return None if value is None else str(value)
    if kind == "CONSTANT":
        literal = expression.get("literal") or expression["value"]
        if literal.get("kind") == "NULL_LITERAL" or literal.get("is_null"):
            return None
        return str(literal["text"] if "text" in literal else literal["value"])
    raise QueryError(f"an argument of {MACRO} has to be a text, NULL or a parameter", got=kind.lower())


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
    pieces = [pa.Table.from_batches([], schema=SCHEMA)]
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
            filled = {
                "output": [None] * n_items,
                **answers,
                "evaluation_id": [row["evaluation_id"]] * n_items,
                "question": texts,
            }
            pieces.append(pa.Table.from_pydict({name: filled[name] for name in SCHEMA.names}, schema=SCHEMA))
    return pa.concat_tables(pieces)


def _questions(columns: Columns) -> dict[str, str]:
    """Return example id -> its text with the right candidate, the source of a translation, or the question."""
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
    are_equal = [output == reference for output, reference in zip(outputs, references, strict=True)]
    return {
        "example_id": columns["example_id"],
        "cluster": columns.get("cluster", columns["example_id"]),
        "category": columns.get("category", [""] * len(outputs)),
        "chosen": columns.get("answer", outputs),
        "gold": references,
        "is_right": columns.get("is_right", are_equal),
        "output": outputs,
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


def called_answers(
    sql: str, parameters: Mapping[str, Value], *, store: Store, query: Callable[..., list[dict[str, Value]]]
) -> dict[str, pa.Table]:
    """Return the table of answers that the calls in a statement read, by its name; empty without calls.

    Args:
        query: runs a statement with parameters on the catalog.
    Raises:
        QueryError: an argument of a call is wrong, or a file of predictions or items is missing or damaged.
    """
    if MACRO not in sql:
        return {}

    calls = answer_calls(str(query(statement("answers", "parse"), {"sql": sql})[0]["tree"]), parameters)
    found: list[list[Row]] = [[*query(statement("answers", "answered"), vars(call))] for call in calls]
    evaluations = {row["evaluation_id"]: row for rows in found for row in rows}
    items = {row["id"]: row for row in query(statement("answers", "items"))} if evaluations else {}
    return {TABLE: loaded_answers(store, evaluations.values(), items=items)} if calls else {}
