"""JSON values of the type a caller expects, and nothing converted silently."""

from collections.abc import Callable

import pytest

from mlprune.json_values import JsonValue, as_float, as_int, as_list, as_object, as_str

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
