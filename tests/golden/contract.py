"""The contract that the golden test pins: ids, records, catalog, command line, as plain JSON values."""

import hashlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from catalog.ingest.view_files import macros
from catalog.queries import list_queries
from catalog.sql_files import statement
from catalog.store import Catalog
from infra.pages.catalog_reference import PREDICTIONS
from infra.pages.command_reference import commands
from mlprune.hashing import digest
from mlprune.store.records import Record
from mlprune.store.store import Store

FOLDER = Path(__file__).parent / "pinned"
HASH_LENGTH = 16


def store_contract(store: Store) -> dict[str, Any]:
    """Every record of a store: kind -> id -> [hash of its outline, hash of its bytes].

    The outline contains the exact inputs of the id. Of artefacts and rows it contains only what does not depend on
    floating-point results.
    """
    records: dict[str, dict[str, list[str]]] = {}
    for record in store.records():
        hashes = [digest(outline(record)), hashlib.sha256(record.to_json().encode()).hexdigest()]
        records.setdefault(record.kind, {})[record.id] = [value[:HASH_LENGTH] for value in hashes]
    return records


def outline(record: Record) -> dict[str, Any]:
    """A record without the values that differ on a processor with other vector instructions."""
    value = json.loads(record.to_json())
    value["artefacts"] = [artefact["path"] for artefact in value["artefacts"]]
    value["rows"] = {table: _outline_of_rows(rows) for table, rows in value["rows"].items()}
    return {key: value[key] for key in ("kind", "id", "step_version", "parameters", "parents", "artefacts", "rows")}


def _outline_of_rows(rows: list[dict[str, Any]]) -> list[str]:
    """The distinct shapes of some rows: their columns with the types of the values."""
    shapes = {json.dumps({name: type(value).__name__ for name, value in row.items()}, sort_keys=True) for row in rows}
    return sorted(shapes)


def arithmetic() -> str:
    """Fingerprint of this machine's floating-point results; pinned bytes are valid only where it is equal."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(257, 129, generator=generator) for _ in range(2))
    values = torch.cat([(a @ b.T).flatten(), torch.softmax(a, dim=1).flatten(), torch.nn.functional.gelu(b).flatten()])
    return f"{torch.__version__} {hashlib.sha256(values.numpy().tobytes()).hexdigest()[:HASH_LENGTH]}"


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


def frozen_contract(store: Store) -> dict[str, Any]:
    """A frozen store: its records and the snapshot id of its catalog."""
    with Catalog.in_memory(store) as catalog:
        catalog.fold()
        snapshot = catalog.snapshot_id()
    return {"snapshot_id": snapshot, "records": store_contract(store)}


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
    FOLDER.mkdir(exist_ok=True)
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)
    (FOLDER / f"{name}.json").write_text(text + "\n", "utf-8")
