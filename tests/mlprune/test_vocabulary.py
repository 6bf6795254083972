"""Small values: tags of languages, hashes, counts, times and JSON."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from mlprune.counted import counted
from mlprune.errors import BadInputError
from mlprune.hashing import canonical_json, digest, ordered_by_hash, split_of, with_defaults, without_defaults
from mlprune.json_values import JsonValue, as_float, as_int, as_list, as_object, as_str
from mlprune.languages import (
    DEFAULT_SCRIPTS,
    ISO_639_3,
    language_file_stems,
    language_tag,
    languages_with_resource_class,
    resource_class_of,
    script_of,
)
from mlprune.store.record_kinds import RECORD_KINDS
from mlprune.timestamps import timestamp


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("fr", "fr"),
        ("FR", "fr"),
        ("fra", "fr"),
        ("fra_Latn", "fr"),
        ("fra-Latn", "fr"),
        ("zh", "zh"),
        ("zho_Hans", "zh"),
        ("zh-Hans", "zh"),
        ("zho_Hant", "zh-Hant"),
        ("zh-hant", "zh-Hant"),
        ("zho_hans", "zh"),
        ("swh_Latn", "sw"),
        ("arb_Arab", "ar"),
        ("arb_Latn", "ar-Latn"),
        ("rus_Cyrl", "ru"),
        ("hin_Deva", "hi"),
        ("srp_Cyrl", "sr"),
        ("srp_Latn", "sr-Latn"),
        ("ell_Grek", "el"),
        ("kor_Hang", "ko"),
        ("jpn_Jpan", "ja"),
        ("quy_Latn", "qu"),
        ("ace_Latn", "ace"),
        ("ace_Arab", "ace-Arab"),
        ("pt-BR", "pt-BR"),
    ],
)
def test_tags_are_iso_639_1_with_a_script_only_where_it_is_unusual(name: str, tag: str) -> None:
    assert language_tag(name) == tag
    assert language_tag(tag) == tag


@pytest.mark.parametrize(
    ("tag", "stems"),
    [
        ("fr", ("fr", "fra_Latn")),
        ("zh", ("zh", "zho_Hans")),
        ("zh-Hant", ("zh-Hant", "zho_Hant")),
        ("sw", ("sw", "swh_Latn")),
        ("ar", ("ar", "arb_Arab")),
        ("sr-Latn", ("sr-Latn", "srp_Latn")),
        ("ace", ("ace", "ace_Latn")),
    ],
)
def test_files_are_looked_up_by_tag_then_by_the_long_name(tag: str, stems: tuple[str, ...]) -> None:
    assert language_file_stems(tag) == stems


@pytest.mark.thorough("computes many cases")
@pytest.mark.parametrize("long", ISO_639_3)
def test_every_long_name_leads_back_to_its_own_file(long: str) -> None:
    short = ISO_639_3[long]
    flores = f"{long}_{DEFAULT_SCRIPTS.get(short, 'Latn')}"
    assert language_tag(flores) == short
    assert flores in language_file_stems(short)


def test_short_codes_are_used_once_and_scripts_belong_to_known_languages() -> None:
    assert len(set(ISO_639_3.values())) == len(ISO_639_3)
    assert set(DEFAULT_SCRIPTS) <= set(ISO_639_3.values())


def test_versions_of_record_kinds_are_positive() -> None:
    assert all(isinstance(kind.version, int) and kind.version >= 1 for kind in RECORD_KINDS.values())


@pytest.mark.parametrize(
    ("tag", "script", "resource_class"),
    [
        ("fr", "Latn", 5),
        ("zh", "Hans", 5),
        ("zh-Hant", "Hant", 5),
        ("sr-Latn", "Latn", None),
        ("hi", "Deva", 4),
        ("eo", "Latn", None),
    ],
)
def test_a_tag_has_a_script_and_may_have_a_resource_class(tag: str, script: str, resource_class: int | None) -> None:
    assert (script_of(tag), resource_class_of(tag)) == (script, resource_class)


def test_the_list_of_resource_classes_has_every_language_once() -> None:
    rows = languages_with_resource_class()
    assert len({row[0] for row in rows}) == len(rows) == 81
    assert ("sw", "Latn", 2, "Swahili") in rows


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


VALUES: tuple[JsonValue, ...] = ("a", 1, 1.5, True, None, [1], {"a": 1})


@pytest.mark.parametrize(
    ("convert", "accepted"),
    [(as_str, ["a"]), (as_int, [1]), (as_float, [1, 1.5]), (as_list, [[1]]), (as_object, [{"a": 1}])],
)
def test_a_value_of_another_type_is_refused(convert: Callable[[JsonValue], object], accepted: list[JsonValue]) -> None:
    def is_accepted(value: JsonValue) -> bool:
        try:
            return convert(value) == value
        except TypeError:
            return False

    assert [value for value in VALUES if is_accepted(value)] == accepted


def test_only_one_is_in_the_singular() -> None:
    assert [counted(n, "shard") for n in (0, 1, 2)] == ["0 shards", "1 shard", "2 shards"]
    assert [counted(n, "entry", "entries") for n in (1, 2)] == ["1 entry", "2 entries"]


def test_a_moment_is_written_in_utc_with_milliseconds() -> None:
    assert timestamp(datetime(2026, 1, 2, 3, 4, 5, 678_900, tzinfo=UTC)) == "2026-01-02T03:04:05.678+00:00"


def test_no_moment_means_now() -> None:
    before = datetime.now(UTC)
    assert abs((datetime.fromisoformat(timestamp()) - before).total_seconds()) < 5
