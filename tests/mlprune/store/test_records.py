"""Records: ids pinned by example, orders recomputed by hand, and every damage noticed."""

import dataclasses
import hashlib
import json
from typing import Any

import pytest

from mlprune.errors import DamagedRecordError
from mlprune.hashing import canonical_json, digest, ordered_by_hash, split_of
from mlprune.store.records import Artefact, Record, identity, one_line, parse_record, record_path
from tests.records import record_text

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
INPUTS: dict[str, Any] = {
    "step_version": 2,
    "parameters": {"score": "wanda", "sparsity": 0.3, "scale": 1e-05},
    "parents": {"base_model": "ff"},
    "contents": {"fr": "aa"},
}
RECORD = Record(
    kind="variants",
    id=identity("variants", **INPUTS),
    **INPUTS,
    artefacts=(Artefact("masks/x.parquet", 12, "b" * 64, 3), Artefact("masks/y.parquet", 0, "c" * 64)),
    rows={
        "variants": [{"variant_id": "x", "score": None, "name": "é\u2028\n"}],
        "metrics": [{"value": 0.1 + 0.2}, {"value": 1e-07}],
        "empty": [],
    },
)
KEY = {"kind": "variants", "record_id": RECORD.id}


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_canonical_json_has_sorted_keys_no_spaces_and_plain_characters() -> None:
    value = {"b": [1, 0.1, None, True], "a": {"ü": "é", "A": (1, 2)}}
    assert canonical_json(value) == '{"a":{"A":[1,2],"ü":"é"},"b":[1,0.1,null,true]}'


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_none_are_refused(number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"x": number})
    with pytest.raises(ValueError, match="not JSON compliant"):
        dataclasses.replace(RECORD, parameters={"x": number}).to_json()


def test_a_digest_is_the_sha_256_of_canonical_json() -> None:
    assert digest({"b": 1, "a": "é"}) == sha('{"a":"é","b":1}')


def test_an_id_is_pinned_by_example() -> None:
    assert identity("variants", **EXAMPLE) == "db80ace323a27d291cdd"
    assert sha(EXAMPLE_JSON)[:20] == "db80ace323a27d291cdd"


def test_an_id_does_not_depend_on_the_order_of_keys_nor_on_empty_parts_being_spelt_out() -> None:
    turned = {
        key: dict(reversed(value.items())) if isinstance(value, dict) else value for key, value in EXAMPLE.items()
    }
    assert identity("variants", **turned) == identity("variants", **EXAMPLE)
    spelt_out = identity("x", step_version=1, parameters={}, parents={}, contents={})
    assert spelt_out == identity("x", step_version=1, parameters={})


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


def test_names_are_ordered_by_the_hash_of_seed_and_name() -> None:
    assert ordered_by_hash(0, range(8)) == [7, 4, 3, 2, 6, 0, 5, 1]
    assert ordered_by_hash(1, range(8)) == [7, 4, 6, 5, 2, 3, 0, 1]
    files = ["a/b.py", "a.py", "z.py", "b.py"]
    assert ordered_by_hash(3, files) == sorted(files, key=lambda name: sha(f"3:{name}"))
    lines = list(range(500))
    assert ordered_by_hash(7, lines) == sorted(lines, key=lambda line: int(sha(f"7:{line}"), 16))


def test_the_order_does_not_depend_on_the_order_given_and_leaving_some_out_keeps_the_rest() -> None:
    whole = ordered_by_hash(0, range(50))
    assert ordered_by_hash(0, reversed(range(50))) == whole
    assert ordered_by_hash(0, range(0, 50, 2)) == [line for line in whole if line % 2 == 0]


def test_an_item_is_dev_where_the_hash_of_split_and_id_is_even() -> None:
    assert [split_of(number) for number in (0, 2, 3, "currency:JP")] == ["test", "test", "dev", "dev"]
    for name in [*range(300), "x", "language:FR"]:
        assert split_of(name) == ("dev" if int(sha(f"split:{name}"), 16) % 2 == 0 else "test")
    assert split_of(17) == split_of("17")


@pytest.mark.parametrize("text", [RECORD.to_json(), RECORD.to_line()])
def test_a_record_is_read_back_from_its_file_and_from_its_line(text: str) -> None:
    record = parse_record(text.encode(), **KEY)
    assert record == RECORD
    assert (record.to_json(), record.to_line()) == (RECORD.to_json(), RECORD.to_line())
    assert json.loads(text)["artefacts"][1]["n_rows"] is None


def test_the_file_of_a_record_is_its_line_with_line_breaks() -> None:
    assert one_line(RECORD.to_json().encode()).decode() == RECORD.to_line()
    lines = RECORD.to_json().splitlines()
    assert '{"value":1e-07}]' in " ".join(lines)
    assert len(lines) > 10


def test_the_checksum_is_the_sha_256_of_the_canonical_json_of_everything_else() -> None:
    value = json.loads(RECORD.to_json())
    assert value.pop("checksum") == sha(canonical_json(value))


@pytest.mark.parametrize("text", [RECORD.to_json(), RECORD.to_line()])
def test_every_flip_of_a_single_bit_is_noticed(text: str) -> None:
    data = text.encode()
    for index in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[index // 8] ^= 1 << index % 8
        with pytest.raises(DamagedRecordError):
            parse_record(bytes(flipped), **KEY)


@pytest.mark.parametrize("key", [{"kind": "masks"}, {"record_id": "0" * 20}])
def test_a_record_is_refused_under_another_kind_or_id(key: dict[str, str]) -> None:
    with pytest.raises(DamagedRecordError) as caught:
        parse_record(RECORD.to_json().encode(), **{**KEY, **key})
    assert RECORD.id in caught.value.context["reason"]


def test_an_id_that_does_not_follow_from_its_inputs_is_refused() -> None:
    for change in ({"id": "0" * 20}, {"step_version": 1}, {"parameters": {}}, {"contents": {}}):
        record = dataclasses.replace(RECORD, **change)
        with pytest.raises(DamagedRecordError):
            parse_record(record.to_json().encode(), kind=record.kind, record_id=record.id)


def test_equal_records_are_equal_texts_whatever_the_order_of_their_keys() -> None:
    turned = dataclasses.replace(
        RECORD,
        parameters=dict(reversed(RECORD.parameters.items())),
        rows={table: [dict(reversed(row.items())) for row in rows] for table, rows in reversed(RECORD.rows.items())},
    )
    assert turned.to_json() == RECORD.to_json()


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


@pytest.mark.parametrize("path", UNSAFE)
def test_an_artefact_cannot_be_outside_the_folders_of_artefacts(path: str) -> None:
    artefact = {"path": path, "n_bytes": 1, "sha256": "b" * 64, "n_rows": None}
    with pytest.raises(DamagedRecordError):
        parse_record(_signed({"artefacts": [artefact]}), **KEY)


@pytest.mark.parametrize("kind", ["../../../", "a/b", "", "A", "..", "a.b"])
def test_a_kind_is_a_plain_name(kind: str) -> None:
    record = dataclasses.replace(RECORD, kind=kind, id=identity(kind, **INPUTS))
    with pytest.raises(DamagedRecordError):
        parse_record(record.to_json().encode(), kind=kind, record_id=record.id)


def _signed(change: dict[str, Any]) -> bytes:
    """The record with some fields changed, and the checksum that goes with them."""
    value = {**json.loads(RECORD.to_json()), **change}
    return record_text({name: field for name, field in value.items() if field is not None})


def test_the_path_of_a_record_is_made_of_its_kind_and_id() -> None:
    assert RECORD.path == record_path("variants", RECORD.id) == f"records/variants/{RECORD.id}.json"
