"""The contract that the golden test pins: ids, records, catalog, command line, as plain JSON values."""

import base64
import hashlib
import io
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import safetensors.numpy

from catalog.ingest.table_files import macros
from catalog.results import QueryResult
from catalog.sql_files import list_queries, statement
from catalog.store import Catalog
from catalog.store.item_answers import PREDICTIONS
from infra.pages.command_reference import commands
from mlprune.hashing import canonical_json, digest
from mlprune.store.records import Record
from mlprune.store.store import Store
from tests.tiny_recipes import results

FOLDER = Path(__file__).parent / "pinned"
HASH_LENGTH = 16
N_DIGITS = 8
N_SAMPLED = 4
"""Values of an array of a file that are pinned one by one."""
GOLDEN_RATIO = 0.6180339887498949


def run_contract(store: Store) -> dict[str, Any]:
    """A finished run on any processor: its exact values, its masks, and its floating-point numbers.

    Returns:
        `records`: "kind/id" -> [hash of the outline, hash of the exact values of the rows, "table.column" -> numbers].
        `files`: path of an artefact -> [hash of the exact values, column or tensor -> digest of its numbers].
        `masks`: "path layer" of a mask file -> [shape, number of sparsities, packed levels].
    """
    records: dict[str, list[Any]] = {}
    files: dict[str, list[Any]] = {}
    masks: dict[str, list[Any]] = {}
    for record in store.records():
        exact = {table: [_without_floats(row) for row in rows] for table, rows in record.rows.items()}
        numbers = {
            f"{table}.{column}": [rounded(row[column]) for row in rows if isinstance(row.get(column), float)]
            for table, rows in record.rows.items()
            for column in sorted({name for row in rows for name, value in row.items() if isinstance(value, float)})
        }
        records[f"{record.kind}/{record.id}"] = [_short(digest(outline(record))), _short(digest(exact)), numbers]
        for artefact in record.artefacts:
            if artefact.path not in files:
                arrays = _arrays(store.read_bytes(artefact), artefact.path)
                masks |= _levels(arrays, artefact.path)
                files[artefact.path] = file_contract(arrays)
    return {"records": records, "files": files, "masks": masks}


def _without_floats(row: Mapping[str, Any]) -> dict[str, Any]:
    return {column: "a number" if isinstance(value, float) else value for column, value in row.items()}


def _arrays(data: bytes, path: str) -> dict[str, list[Any] | np.ndarray]:
    """Column or tensor -> its values, of a Parquet or safetensors file."""
    if path.endswith(".safetensors"):
        return dict(sorted(safetensors.numpy.load(data).items()))
    return pq.read_table(io.BytesIO(data)).to_pydict()


def _levels(arrays: Mapping[str, Any], path: str) -> dict[str, list[Any]]:
    """The levels of the layers of a mask file, packed; they leave `arrays`."""
    if "levels" not in arrays:
        return {}
    levels = [base64.b64encode(packed).decode() for packed in arrays.pop("levels")]
    layers = zip(arrays["layer"], arrays["shape"], arrays["sparsities"], levels, strict=True)
    return {f"{path} {layer}": [shape, len(sparsities), packed] for layer, shape, sparsities, packed in layers}


def file_contract(arrays: Mapping[str, Any]) -> list[Any]:
    """Columns or tensors as [hash of the exact values, name -> digest of its numbers]."""
    exact: dict[str, Any] = {}
    numbers = {}
    for name, values in arrays.items():
        flat = list(_flattened(values))
        if any(isinstance(value, float) for value in flat):
            exact[name] = [_shape(values), [value is None for value in flat]]
            numbers[name] = array_digest([value for value in flat if value is not None])
        else:
            exact[name] = [value.hex() if isinstance(value, bytes) else value for value in flat]
    return [_short(digest(exact)), numbers]


def _flattened(values: Any) -> Iterator[Any]:
    for value in values.tolist() if isinstance(values, np.ndarray) else values:
        if isinstance(value, list):
            yield from _flattened(value)
        else:
            yield value


def _shape(values: Any) -> list[Any]:
    """The shape and dtype of a tensor, or the lengths of the lists of a column."""
    if isinstance(values, np.ndarray):
        return [*values.shape, str(values.dtype)]
    return [len(value) if isinstance(value, list) else None for value in values]


def array_digest(values: Sequence[float]) -> list[float]:
    """Return the count, the norm, a weighted sum and a sample of some numbers.

    The weights are between 1 and 2 and differ, so that the sum changes with every value and with the order.
    """
    array = np.asarray(values, dtype=np.float64)
    weights = 1 + np.arange(len(array)) * GOLDEN_RATIO % 1
    sample = array[np.linspace(0, len(array) - 1, N_SAMPLED).astype(int)] if len(array) else array
    return [rounded(value) for value in (len(array), np.linalg.norm(array), weights @ array, *sample)]


def rounded(value: float) -> float:
    """A number with the digits that are pinned."""
    return float(f"{value:.{N_DIGITS}g}")


def exact_contract(store: Store) -> dict[str, str]:
    """Path -> SHA-256 of all records and artefacts of a run. Comparable only on one machine."""
    return {path: hashlib.sha256(data).hexdigest() for path, data in sorted(results(store).items())}


def frozen_records(store: Store) -> dict[str, Any]:
    """Every record of a frozen store: kind -> id -> [hash of its outline, hash of its bytes]."""
    records: dict[str, dict[str, list[str]]] = {}
    for record in store.records():
        hashes = [digest(outline(record)), hashlib.sha256(record.to_json().encode()).hexdigest()]
        records.setdefault(record.kind, {})[record.id] = [_short(value) for value in hashes]
    return records


def outline(record: Record) -> dict[str, Any]:
    """A record without the values of its rows and the hashes of its artefacts; it contains the inputs of the id."""
    value = json.loads(record.to_json())
    value["artefacts"] = [artefact["path"] for artefact in value["artefacts"]]
    value["rows"] = {table: _outline_of_rows(rows) for table, rows in value["rows"].items()}
    return {key: value[key] for key in ("kind", "id", "step_version", "parameters", "parents", "artefacts", "rows")}


def _outline_of_rows(rows: list[dict[str, Any]]) -> list[str]:
    """The distinct shapes of some rows: their columns with the types of the values."""
    shapes = {json.dumps({name: type(value).__name__ for name, value in row.items()}, sort_keys=True) for row in rows}
    return sorted(shapes)


def _short(value: str) -> str:
    return value[:HASH_LENGTH]


def catalog_contract() -> dict[str, Any]:
    """Tables and views with their columns and types, macros and named queries with parameters and columns."""
    with tempfile.TemporaryDirectory() as folder, Catalog.in_memory(Store(folder)) as catalog:
        relations: dict[str, dict[str, Any]] = {"table": {}, "view": {}}
        for row in catalog.query(statement("reference", "columns")):
            columns = relations[row["kind"]].setdefault(row["relation"], {})
            columns[row["column_name"]] = [row["data_type"], row["key_place"]]
        queries = {}
        for query in list_queries():
            values = {parameter.name: parameter.default for parameter in query.parameters}
            predictions = {table.name: PREDICTIONS for table in query.reads}
            columns = catalog.select(query.sql, query.bound(values), tables=predictions).columns
            queries[query.name] = {"parameters": [str(one) for one in query.parameters], "columns": list(columns)}
        with_argument = {name: list(catalog.select(f"FROM {name}('')").columns) for name in macros()}
    return {"tables": relations["table"], "views": relations["view"], "macros": with_argument, "queries": queries}


def frozen_contract(catalog: Catalog) -> dict[str, Any]:
    """The catalog of a frozen store: the records of the store and the snapshot id."""
    return {"snapshot_id": catalog.snapshot_id(), "records": frozen_records(catalog.store)}


OF_FILES = ("n_bytes", "sha256")
"""Columns about Parquet files that a test writes, whose bytes depend on the version of pyarrow."""


def answer_contract(answers: Mapping[str, QueryResult]) -> dict[str, Any]:
    """Query -> its answer like a file of a run: hash of the exact values, and column -> digest of its numbers.

    Of `OF_FILES`, it has only which values are NULL.
    """
    found = {}
    for name, answer in answers.items():
        columns = zip(*answer.rows, strict=True) if answer.rows else [()] * len(answer.columns)
        values = {
            column: [value if isinstance(value, int | float | str | list | None) else str(value) for value in values]
            for column, values in zip(answer.columns, columns, strict=True)
        }
        values |= {column: [value is None for value in values[column]] for column in OF_FILES if column in values}
        found[name] = file_contract(values)
    return {"records": {}, "files": found, "masks": {}}


def command_contract() -> dict[str, Any]:
    """Command -> its arguments and options, each with its default and whether it is required."""
    return {name: [_parameter(one) for one in command.params] for name, command in commands()}


def _parameter(parameter: Any) -> dict[str, Any]:
    default = parameter.default
    return {
        "names": [*parameter.opts, *parameter.secondary_opts],
        "kind": parameter.param_type_name,
        "default": default if isinstance(default, str | int | float | bool | None) else str(default),
        "required": parameter.required,
        "multiple": parameter.multiple,
    }


def read(name: str) -> Any:
    """Read the pinned value of a name."""
    return json.loads((FOLDER / f"{name}.json").read_text("utf-8"))


def write(name: str, value: Mapping[str, Any]) -> None:
    """Pin a value under a name."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)
    (FOLDER / f"{name}.json").write_text(text + "\n", "utf-8")


def write_run(name: str, value: Mapping[str, Mapping[str, Any]]) -> None:
    """Pin the contract of a run: one record, file or mask per line."""
    lines = [
        f"{json.dumps(group)}: {{\n"
        + ",\n".join(f"{json.dumps(key)}: {canonical_json(entry)}" for key, entry in entries)
        + "}"
        for group, entries in ((group, sorted(entries.items())) for group, entries in value.items())
    ]
    (FOLDER / f"{name}.json").write_text("{" + ",\n".join(lines) + "}\n", "utf-8")
