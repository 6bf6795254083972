"""Records: ids pinned by example, and the text of a record."""

import dataclasses
import hashlib
import json
from typing import Any

import pytest

from mlprune.hashing import canonical_json
from mlprune.store.records import identity, one_line, record_path
from tests.records import EXAMPLE_RECORD as RECORD

EXAMPLE: dict[str, Any] = {
    "step_version": 1,
    "parameters": {"sparsity": 0.3, "name": "é"},
    "parents": {"parts": ["1", "2"], "base_model": "0" * 20},
    "contents": {"fr": "ab"},
}
EXAMPLE_JSON = (
    '{"contents":{"fr":"ab"},"kind":"variants","parameters":{"name":"é","sparsity":0.3},'
    '"parents":{"base_model":"00000000000000000000","parts":["1","2"]},"step_version":1}'
)
KEY = {"kind": "masks", "record_id": RECORD.id}


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_an_id_is_pinned_by_example() -> None:
    assert identity("variants", **EXAMPLE) == "db80ace323a27d291cdd"
    assert sha(EXAMPLE_JSON)[:20] == "db80ace323a27d291cdd"


def test_an_id_depends_neither_on_the_order_of_keys_nor_on_empty_inputs() -> None:
    turned = {
        key: dict(reversed(value.items())) if isinstance(value, dict) else value for key, value in EXAMPLE.items()
    }
    assert identity("variants", **turned) == identity("variants", **EXAMPLE)
    with_empty_inputs = identity("x", step_version=1, parameters={}, parents={}, contents={})
    assert with_empty_inputs == identity("x", step_version=1, parameters={})


@pytest.mark.parametrize(
    "change",
    [
        {"step_version": 2},
        {"parameters": {"sparsity": 0.30000000000000004, "name": "é"}},
        {"parents": {"parts": ["2", "1"], "base_model": "0" * 20}},
        {"contents": {"fr": "ac"}},
        {"contents": {"en": "ab"}},
    ],
)
def test_an_id_changes_with_everything_it_is_made_of(change: dict[str, Any]) -> None:
    assert identity("variants", **{**EXAMPLE, **change}) != identity("variants", **EXAMPLE)
    assert identity("masks", **EXAMPLE) != identity("variants", **EXAMPLE)


def test_the_file_of_a_record_is_its_line_with_line_breaks() -> None:
    assert one_line(RECORD.to_json().encode()).decode() == RECORD.to_line()
    lines = RECORD.to_json().splitlines()
    assert '{"value":1e-07}]' in " ".join(lines)
    assert len(lines) > 10


def test_the_checksum_is_the_sha_256_of_the_canonical_json_of_everything_else() -> None:
    value = json.loads(RECORD.to_json())
    assert value.pop("checksum") == sha(canonical_json(value))


def test_equal_records_give_equal_texts_whatever_the_order_of_their_keys() -> None:
    turned = dataclasses.replace(
        RECORD,
        parameters=dict(reversed(RECORD.parameters.items())),
        rows={table: [dict(reversed(row.items())) for row in rows] for table, rows in reversed(RECORD.rows.items())},
    )
    assert turned.to_json() == RECORD.to_json()


def test_the_path_of_a_record_is_made_of_its_kind_and_id() -> None:
    assert RECORD.path == record_path("masks", RECORD.id) == f"records/masks/{RECORD.id}.json"
