"""The rows that records add to the catalog, checked against their tables."""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from catalog.ingest.table_files import declared_tables
from catalog.results import Value
from mlprune.corpus.token_languages import COLUMNS as COLUMNS_OF_SIDES
from mlprune.corpus.token_languages import side_tokens
from mlprune.errors import DamagedArtefactError, StoreError
from mlprune.json_values import JsonObject, as_float, as_int
from mlprune.numeric.statistics.variance_components import ErrorParts, parts_of_interval
from mlprune.store.record_kinds import RECORD_KINDS, is_shown, table_of
from mlprune.store.records import Record
from mlprune.store.store import Store
from mlprune.store.unsound_records import UnsoundRecord, unsound_records

logger = logging.getLogger(__name__)
CONDITIONS = ("scoring_rule", "prompt_language", "example_limit", "protocol_id", "profile")
"""Columns of evaluations that are repeated in metrics."""
WITH_PROFILE = (
    "evaluations",
    "metrics",
    "comparison_results",
    "aggregate_results",
    "rank_consistency",
    "seed_components",
    "sensitivity",
    "sensitivity_agreement",
    "feature_overlaps",
    "lrp2_trials",
)
"""Tables whose rows have the profile `corrected` unless their record names another one."""
Rows = dict[str, list[JsonObject]]
"""Table -> rows."""
RECIPES = "recipes"
SETS, TEXTS, TOKENS = "demonstration_sets", "demonstrations", "demonstration_tokens"
"""Kind of records of demonstration sets, and the tables of their texts, and of their tokens by language."""
COLUMNS_OF_TEXTS = ("demonstration", "kind", "token_ids", "sentence_ids", "text")


def row_problems(record: Record) -> Iterator[str]:
    """Yield what is wrong with the rows of a record, one line each: foreign tables or ids, duplicates.

    Whether the values fit their columns is found when the record is folded.
    """
    kind = RECORD_KINDS.get(record.kind)
    if kind is None:
        yield f"the kind {record.kind} is unknown"
        return
    for stored_name, rows in record.rows.items():
        name = table_of(stored_name)
        if name not in kind.tables:
            yield f"its kind has no rows in the table {name}"
            continue
        table = declared_tables()[name]
        own = kind.tables[name]
        if own is not None and any(row.get(own) != record.id for row in rows):
            yield f"a row of {name} belongs to another record"
        keyed = _with_keys(record, name)
        keys = Counter(tuple(str(row.get(column)) for column in table.primary_key) for row in keyed)
        if duplicates := [key for key, n in keys.items() if n > 1]:
            yield f"the table {name} has several rows for {', '.join(duplicates[0])}"


def add_rows(record: Record, rows: Rows) -> None:
    """Add the rows of a record, and the rows about the record itself, to the rows of each table.

    Of a record of an earlier version, whose statistics are not comparable with today's, only the latter are added.
    """
    keys = {"kind": record.kind, "id": record.id}
    about = {"step_version": record.step_version, "n_artefacts": len(record.artefacts)}
    ordering_id = record.parameters.get("ordering") if record.kind == "mask_blocks" else None
    dtype = record.parameters.get("dtype")
    rows.setdefault("records", []).append({**keys, **about, "ordering_id": ordering_id, "dtype": dtype})
    rows.setdefault("record_parents", []).extend(
        {**keys, "role": role, "parent_id": parent}
        for role, value in record.parents.items()
        for parent in ([value] if isinstance(value, str) else value)
    )
    rows.setdefault("artefacts", []).extend({**vars(artefact), **keys} for artefact in record.artefacts)
    if record.kind == "recipes":
        declared = (row for row in record.rows.get("questions", ()) if row["is_declared"])
        rows.setdefault("question_records", []).extend(
            {"record_id": record.id, "question_id": row["question_id"], "title": row.get("title")} for row in declared
        )
    if not is_shown(record.kind, record.step_version):
        return
    for name in record.rows:
        table = table_of(name)
        added = _COMPLETED[table](record) if table in _COMPLETED else _with_keys(record, table)
        rows.setdefault(table, []).extend(_with_profile(added) if table in WITH_PROFILE else added)


def _with_conditions(record: Record) -> list[JsonObject]:
    """Return the rows of metrics with the conditions of their evaluations, whose rows are in the same record."""
    conditions = {
        row["evaluation_id"]: {key: row.get(key) for key in CONDITIONS} for row in record.rows.get("evaluations", ())
    }
    return [{**conditions.get(row["evaluation_id"], {}), **row} for row in record.rows["metrics"]]


def _with_version(record: Record) -> list[JsonObject]:
    """Return the rows of a comparison with its version: of several rows about one pair, the latest is inserted."""
    return [{**row, "step_version": record.step_version} for row in _with_keys(record, "comparison_results")]


def _with_error_parts(record: Record) -> list[JsonObject]:
    """Return the rows of answers with the parts of the error of a mean.

    Records of older versions do not store them; the 95 % interval says how much of the error is that of few seeds.
    """
    rows = next(rows for name, rows in record.rows.items() if table_of(name) == "answer_results")
    return [
        row if row.get("comparison_id") or "error_of_items" in row else {**row, **_error_parts(row)} for row in rows
    ]


def _error_parts(row: JsonObject) -> JsonObject:
    error, ends = row.get("standard_error"), (row.get("ci_low"), row.get("ci_high"))
    if error is None:
        return {}
    parts = ErrorParts(0.0, 0.0, as_float(error) ** 2)
    if row.get("test") == "crossed_t" and None not in ends:
        low, high = map(as_float, ends)
        numbers = {name: as_int(row[name]) for name in ("n_seeds", "n_clusters")}
        parts = parts_of_interval(as_float(error), (high - low) / 2, **numbers)
    return {f"error_of_{name}": part**0.5 for name, part in parts._asdict().items()}


def _with_roles(record: Record) -> list[JsonObject]:
    """Return the links of a variant to its sets, with the roles as the catalog names them."""
    links = record.rows["variant_demonstrations"]
    return [{**row, "role": "calibration"} if row.get("role") == "demonstrations" else row for row in links]


_COMPLETED: Mapping[str, Callable[[Record], list[JsonObject]]] = {
    "answer_results": _with_error_parts,
    "comparison_results": _with_version,
    "metrics": _with_conditions,
    "variant_demonstrations": _with_roles,
}
"""Table -> function that returns the rows of a record for it, if they are not the stored ones."""


def _with_profile(rows: Iterable[JsonObject]) -> list[JsonObject]:
    """Return rows with the profile that is not stored because it is the default."""
    return [row if row.get("profile") else {**row, "profile": "corrected"} for row in rows]


def _of_pair(record: Record, row: JsonObject, *, role: str) -> JsonObject:
    """Return the compared statistics of a row about two sets: the record names them in the order of the sets' ids."""
    statistics = list(record.parents.get(role, ()))
    if str(row.get("set_a")) > str(row.get("set_b")):
        statistics.reverse()
    return dict(zip(("statistics_a", "statistics_b"), statistics, strict=False))


_KEYS_FROM_PARENTS: Mapping[str, Callable[[Record, JsonObject], JsonObject]] = {
    **{
        table: partial(_of_pair, role=kind.pair_of)
        for kind in RECORD_KINDS.values()
        if kind.pair_of
        for table in kind.tables
    },
    "layer_errors": lambda record, _: {"gram_matrices_id": record.parents.get("gram_matrices")},
}
"""Table -> function that returns the columns of a row's key that are parents of its record."""


def _with_keys(record: Record, table: str) -> list[JsonObject]:
    """Return the rows of a record for a table with all columns of their keys."""
    rows = next(rows for name, rows in record.rows.items() if table_of(name) == table)
    keys = _KEYS_FROM_PARENTS.get(table)
    return [{**row, **keys(record, row)} for row in rows] if keys else list(rows)


def quarantined_questions(store: Store, *, sound: Collection[str]) -> list[JsonObject]:
    """Return the rows of declared questions in records of recipes that are damaged or in quarantine, sorted.

    The parts of such a record are not compared with each other: a question counts if the parameters or the rows name
    it, in each recipe that one of them names, whatever they say about its status.

    Args:
        sound: ids of the records of recipes that were accepted.
    """
    found = {
        (recipe, question_id, record.id)
        for record in unsound_records(store, RECIPES, sound=sound)
        for recipe, question_id in _named_questions(record)
    }
    return [dict(zip(("recipe", "question_id", "record_id"), key, strict=True)) for key in sorted(found)]


def _named_questions(record: UnsoundRecord) -> Iterator[tuple[str, str]]:
    """Yield (recipe, question) of the declared questions of a record that was not accepted."""
    parameters = record.values("parameters")
    entries = parameters.get("questions")
    declared = [one for one in entries if isinstance(one, list) and len(one) > 1] if isinstance(entries, list) else []
    named = [(parameters.get("name"), entry[0]) for entry in declared]
    for row in (*record.rows("questions"), *record.rows("recipe_questions")):
        if row.get("is_declared", True):
            named += [(recipe, row.get("question_id")) for recipe in (parameters.get("name"), row.get("recipe"))]
    for recipe, question_id in named:
        if isinstance(recipe, str) and isinstance(question_id, str):
            yield recipe, question_id


def with_texts(record: Record, store: Store) -> Record:
    """Return the record of a demonstration set with rows for each demonstration, and any other record unchanged.

    If the artefact is missing or damaged the rows are skipped, with a warning; `check store` reports the artefact.
    """
    if record.kind != SETS or not record.artefacts:
        return record
    try:
        columns = store.read_table(record.artefacts[0])
        texts = _rows(record.id, columns)
    except (DamagedArtefactError, OSError, ValueError, KeyError) as err:
        logger.warning("the catalog lacks the texts of %s: %s", record.path, err)
        return record
    return replace(record, rows={**record.rows, TEXTS: texts, TOKENS: _token_rows(record, store, columns)})


def without_texts(record: Record) -> Record:
    """Return a record of `with_texts` as it is stored."""
    if record.kind != SETS:
        return record
    return replace(record, rows={name: rows for name, rows in record.rows.items() if name not in (TEXTS, TOKENS)})


def _token_rows(record: Record, store: Store, columns: Mapping[str, Sequence[Value]]) -> list[JsonObject]:
    """Return the tokens of a set by demonstration and side; none if its file does not say the sides of tokens."""
    if not columns.keys() >= set(COLUMNS_OF_SIDES):
        return []
    try:
        return [
            {
                "demonstration_set_id": record.id,
                "demonstration": tokens.demonstration,
                **tokens.group._asdict(),
                "n_tokens": tokens.n_tokens,
                "n_last_shot": tokens.n_last_shot,
            }
            for tokens in side_tokens(store, record, columns)
        ]
    except StoreError as err:
        logger.warning("the catalog lacks the tokens by language of %s: %s", record.path, err)
        return []


def _rows(set_id: str, columns: Mapping[str, Sequence[Value]]) -> list[JsonObject]:
    return [
        {
            "demonstration_set_id": set_id,
            "demonstration": number,
            "kind": kind,
            "n_tokens": len(tokens),
            "sentence_ids": list(sentences),
            "text": text,
        }
        for number, kind, tokens, sentences, text in zip(*(columns[name] for name in COLUMNS_OF_TEXTS), strict=True)
    ]
