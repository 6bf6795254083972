"""Ids pinned by example, orders recomputed by hand, records there and back."""

import dataclasses
import hashlib
import json
from typing import Any

import pytest

from mlprune.hashing import canonical_json, digest, ordered_by_hash, split_of
from mlprune.store.records import Artefact, Record, identity, record_path

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
RECORD = Record(
    kind="variants",
    id="0123456789abcdef0123",
    step_version=2,
    parameters={"score": "wanda", "sparsity": 0.3},
    parents={"base_model": "ff"},
    contents={"fr": "aa"},
    artefacts=(Artefact("masks/x.parquet", 12, "bb", 3), Artefact("masks/y.parquet", 0, "cc")),
    rows={"variants": [{"variant_id": "0123456789abcdef0123", "score": None, "name": "é\u2028"}]},
)


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


def test_a_record_comes_back_as_it_went() -> None:
    back = Record.from_json(RECORD.to_json())
    assert back == RECORD
    assert back.to_json() == RECORD.to_json()
    assert json.loads(RECORD.to_json())["artefacts"][1]["n_rows"] is None


def test_equal_records_are_equal_texts_whatever_the_order_of_their_keys() -> None:
    turned = dataclasses.replace(
        RECORD,
        parameters=dict(reversed(RECORD.parameters.items())),
        rows={"variants": [dict(reversed(RECORD.rows["variants"][0].items()))]},
    )
    assert turned.to_json() == RECORD.to_json()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "3",
        '"text"',
        "[]",
        "{}",
        '{"artefacts": 1}',
        '{"artefacts": [1]}',
        '{"artefacts": [{"path": 1}]}',
    ],
)
def test_other_texts_are_no_record(text: str) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        Record.from_json(text)


@pytest.mark.parametrize("change", [{"surplus": 1}, {"id": None}])
def test_a_record_with_other_fields_is_no_record(change: dict[str, Any]) -> None:
    value = {key: one for key, one in {**json.loads(RECORD.to_json()), **change}.items() if one is not None}
    with pytest.raises(TypeError):
        Record.from_json(json.dumps(value))


def test_a_record_lies_under_its_kind_and_id() -> None:
    assert RECORD.path == record_path("variants", RECORD.id) == "records/variants/0123456789abcdef0123.json"
