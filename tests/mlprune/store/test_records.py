"""Records: ids, texts, parsing and the registry of kinds."""

import dataclasses
import hashlib
import json
from contextlib import nullcontext
from typing import Any

import pytest

from mlprune.errors import DamagedRecordError, EarlierVersionError
from mlprune.hashing import canonical_json
from mlprune.store.record_kinds import ARTEFACT_FOLDERS, RECORD_KINDS
from mlprune.store.records import Artefact, identity, one_line, parse_record, record_path
from tests.earlier_versions import text_of_version_0_1
from tests.records import EXAMPLE_INPUTS as INPUTS
from tests.records import EXAMPLE_RECORD as RECORD
from tests.records import made_up_record, record_text
from tests.refusals import refused

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


@pytest.mark.parametrize("text", [RECORD.to_json(), RECORD.to_line()])
def test_a_record_is_read_back_from_its_file_and_from_its_line(text: str) -> None:
    record = parse_record(text.encode(), **KEY)
    assert record == RECORD
    assert (record.to_json(), record.to_line()) == (RECORD.to_json(), RECORD.to_line())
    assert json.loads(text)["artefacts"][1]["n_rows"] is None


@pytest.mark.parametrize("text", [RECORD.to_json(), RECORD.to_line()])
def test_every_flip_of_a_single_bit_is_detected(text: str) -> None:
    data = text.encode()
    for index in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[index // 8] ^= 1 << index % 8
        with pytest.raises(DamagedRecordError):
            parse_record(bytes(flipped), **KEY)


def test_a_record_of_version_0_1_is_told_from_a_damaged_one() -> None:
    old = text_of_version_0_1(RECORD)
    with refused(EarlierVersionError, record=RECORD.path):
        parse_record(old, **KEY)
    for damaged in (old[:-3], old.replace(b"0.3", b"0.4"), old.replace(b'"rows"', b'"cows"')):
        with pytest.raises(DamagedRecordError):
            parse_record(damaged, **KEY)
    with pytest.raises(DamagedRecordError):
        parse_record(old, **{**KEY, "record_id": "0" * 20})


@pytest.mark.parametrize("key", [{"kind": "variants"}, {"record_id": "0" * 20}])
def test_a_record_is_refused_under_another_kind_or_id(key: dict[str, str]) -> None:
    with pytest.raises(DamagedRecordError) as caught:
        parse_record(RECORD.to_json().encode(), **{**KEY, **key})
    assert RECORD.id in caught.value.context["reason"]


def test_an_id_that_does_not_follow_from_its_inputs_is_refused() -> None:
    for change in ({"id": "0" * 20}, {"step_version": 1}, {"parameters": {}}, {"contents": {}}):
        record = dataclasses.replace(RECORD, **change)
        with pytest.raises(DamagedRecordError):
            parse_record(record.to_json().encode(), kind=record.kind, record_id=record.id)


TEXTS = ["", "{", "null", "3", '"text"', "[]", "{}", '{"artefacts": 1}', "[" * 100_000]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_other_texts_are_not_records(text: str) -> None:
    for with_checksum in (text, f'{{"checksum":"{sha("{" + text)}",{text}'):
        with pytest.raises(DamagedRecordError):
            parse_record(with_checksum.encode(), **KEY)


def test_a_record_of_another_shape_is_refused_even_with_a_right_checksum() -> None:
    artefact = {"path": "masks/x.parquet", "n_bytes": 1, "sha256": "b" * 64, "n_rows": None}
    changes: list[dict[str, Any]] = [
        {"surplus": 1},
        {"rows": None},
        {"rows": 5},
        {"rows": {"metrics": 5}},
        {"rows": {"metrics": [5]}},
        {"parents": 5},
        {"parents": {"set": 5}},
        {"parents": {"set": [5]}},
        {"contents": {"fr": None}},
        {"kind": 5},
        {"id": 5},
        {"step_version": "2"},
        {"step_version": True},
        {"parameters": []},
        {"artefacts": {}},
        {"artefacts": [5]},
        {"artefacts": [{**artefact, "surplus": 1}]},
        {"artefacts": [{**artefact, "n_bytes": -1}]},
        {"artefacts": [{**artefact, "n_bytes": 1.0}]},
        {"artefacts": [{**artefact, "n_rows": "1"}]},
        {"artefacts": [{**artefact, "sha256": "B" * 64}]},
        {"artefacts": [{**artefact, "sha256": 5}]},
    ]
    assert parse_record(_signed({"artefacts": [artefact]}), **KEY).artefacts == (Artefact(**artefact),)
    for change in changes:
        with pytest.raises(DamagedRecordError):
            parse_record(_signed(change), **KEY)


UNSAFE = ["", "x", "/etc/x", "../x", "masks/../../x", "masks/./x", "masks//x", "masks/", "./x", "masks\\x", "a/b\n"]
UNSAFE += ["masks/..", "records/variants/x.json", "runs/r/run.json", "claims/masks/x", "quarantine/x", "a/\x00b"]
UNSAFE += ["imported-models/x/model.safetensors", "retired/masks/x.json", ".hooks/pre-commit", "bin/evil.sh"]
UNSAFE += ["predictions/x.parquet", "Masks/x"]


@pytest.mark.parametrize("path", UNSAFE)
def test_an_artefact_cannot_be_outside_the_folders_of_its_kind(path: str) -> None:
    artefact = {"path": path, "n_bytes": 1, "sha256": "b" * 64, "n_rows": None}
    with pytest.raises(DamagedRecordError):
        parse_record(_signed({"artefacts": [artefact]}), **KEY)


def test_artefacts_of_an_unknown_kind_are_in_the_folders_of_the_known_ones() -> None:
    for path, is_allowed in {"predictions/x": True, "masks/x": True, "retired/masks/x.json": False}.items():
        record = made_up_record("later_kind", artefacts=[Artefact(path, 1, "b" * 64)])
        with nullcontext() if is_allowed else pytest.raises(DamagedRecordError):
            assert parse_record(record.to_json().encode(), kind=record.kind, record_id=record.id) == record


@pytest.mark.parametrize("kind", ["../../../", "a/b", "", "A", "..", "a.b"])
def test_a_kind_is_a_plain_name(kind: str) -> None:
    record = dataclasses.replace(RECORD, kind=kind, id=identity(kind, **INPUTS))
    with pytest.raises(DamagedRecordError):
        parse_record(record.to_json().encode(), kind=kind, record_id=record.id)


def _signed(change: dict[str, Any]) -> bytes:
    """The record with some fields changed, and the checksum that goes with them."""
    value = {**json.loads(RECORD.to_json()), **change}
    return record_text({name: field for name, field in value.items() if field is not None})


@pytest.mark.parametrize("run", ["tiny_run", "method_run", "baseline_run"])
def test_artefacts_are_in_the_folders_of_their_kind(run: str, request: pytest.FixtureRequest) -> None:
    for record in request.getfixturevalue(run).store.records():
        folders = {artefact.path.partition("/")[0] for artefact in record.artefacts}
        assert folders <= set(RECORD_KINDS[record.kind].folders), record.path
        assert record.step_version == RECORD_KINDS[record.kind].version


def test_artefacts_have_folders_of_their_own() -> None:
    other_folders = {"records", "runs", "claims", "quarantine", "retired", "imported-models"}
    assert not set(ARTEFACT_FOLDERS) & other_folders
    assert all(kind.version >= 1 for kind in RECORD_KINDS.values())


def test_a_merge_copies_models_sets_statistics_and_masks_before_what_is_made_from_them() -> None:
    order = list(RECORD_KINDS)
    chain = ["base_models", "demonstration_sets", "statistics", "outliers", "mask_blocks", "masks", "variants"]
    assert sorted(chain, key=order.index) == chain
    assert order.index("variants") < order.index("evaluations") < order.index("comparisons")
