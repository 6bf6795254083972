"""Hashing: canonical JSON, digests, parameters of ids, and the order and split of items."""

import hashlib
from dataclasses import dataclass, field

import pytest

from mlprune.errors import BadInputError
from mlprune.hashing import canonical_json, digest, ordered_by_hash, split_of, with_defaults, without_defaults


@dataclass(frozen=True)
class Inner:
    m: float = 5.0


@dataclass(frozen=True)
class Spec:
    name: str
    shares: tuple[float, ...] = ()
    pairs: tuple[tuple[int, float], ...] = ()
    inner: Inner = field(default_factory=Inner)
    path: str = ""


@dataclass(frozen=True)
class SpecWithAnOption(Spec):
    option: float | None = None


def test_a_field_at_its_default_is_not_a_parameter_and_one_without_a_default_always_is() -> None:
    assert without_defaults(Spec("a")) == {"name": "a"}
    spec = Spec("a", (0.5, 1), ((0, 0.25),), Inner(2.0), "here")
    parameters = {"name": "a", "shares": [0.5, 1], "pairs": [[0, 0.25]], "inner": {"m": 2.0}}
    assert without_defaults(spec, omit=("path",)) == parameters


def test_an_optional_field_changes_no_existing_id() -> None:
    assert digest(without_defaults(SpecWithAnOption("a"))) == digest(without_defaults(Spec("a")))
    assert digest(without_defaults(SpecWithAnOption("a", option=1.0))) != digest(without_defaults(Spec("a")))


def test_parameters_without_a_key_load_with_its_default() -> None:
    spec = SpecWithAnOption("a", (0.5, 1), ((0, 0.25),))
    assert with_defaults(SpecWithAnOption, {**without_defaults(spec), "other": 1}) == spec


def test_only_dataclasses_have_defaults_and_required_parameters_are_required() -> None:
    with pytest.raises(TypeError):
        with_defaults(dict, {"name": "a"})
    with pytest.raises(TypeError):
        with_defaults(Spec, {})


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_canonical_json_has_sorted_keys_no_spaces_and_plain_characters() -> None:
    value = {"b": [1, 0.1, None, True], "a": {"ü": "é", "A": (1, 2)}}
    assert canonical_json(value) == '{"a":{"A":[1,2],"ü":"é"},"b":[1,0.1,null,true]}'


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_nan_and_infinity_are_refused(number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"x": number})


def test_a_digest_is_the_sha_256_of_canonical_json() -> None:
    assert digest({"b": 1, "a": "é"}) == sha('{"a":"é","b":1}')


def test_names_are_ordered_by_the_hash_of_seed_and_name() -> None:
    assert ordered_by_hash(0, range(8)) == [7, 4, 3, 2, 6, 0, 5, 1]
    assert ordered_by_hash(1, range(8)) == [7, 4, 6, 5, 2, 3, 0, 1]
    files = ["a/b.py", "a.py", "z.py", "b.py"]
    assert ordered_by_hash(3, files) == sorted(files, key=lambda name: sha(f"3:{name}"))
    lines = list(range(500))
    assert ordered_by_hash(7, lines) == sorted(lines, key=lambda line: int(sha(f"7:{line}"), 16))


def test_the_order_depends_neither_on_the_order_given_nor_on_other_names() -> None:
    whole = ordered_by_hash(0, range(50))
    assert ordered_by_hash(0, reversed(range(50))) == whole
    assert ordered_by_hash(0, range(0, 50, 2)) == [line for line in whole if line % 2 == 0]


def test_an_item_is_dev_if_the_hash_of_split_and_id_is_even() -> None:
    assert [split_of(number) for number in (0, 2, 3, "currency:JP")] == ["test", "test", "dev", "dev"]
    for name in [*range(300), "x", "language:FR"]:
        assert split_of(name) == ("dev" if int(sha(f"split:{name}"), 16) % 2 == 0 else "test")
    assert split_of(17) == split_of("17")


def test_half_of_a_surrogate_pair_is_bad_input() -> None:
    with pytest.raises(BadInputError, match="surrogate"):
        digest({"text": "a \ud800 b"})
