"""JSON values of the type a caller expects, and nothing converted silently."""

from collections.abc import Callable

import pytest

from mlprune.json_values import JsonValue, as_float, as_int, as_list, as_object, as_str, parse_given_json

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


def test_json_of_others_has_numbers_and_texts_that_can_be_stored() -> None:
    assert parse_given_json("[1, -9223372036854775808, 1e999, NaN, -Infinity, 0.5]") == [
        1, -(2**63), "1e999", "NaN", "-Infinity", 0.5,
    ]  # fmt: skip
    for text in ("9223372036854775808", "1" * 5_000, '"\\ud800"', "[" * 100_000, "{", b"\xff"):
        with pytest.raises(ValueError, match=r"."):
            parse_given_json(text)
