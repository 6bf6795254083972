"""Durations in text."""

from mlprune.counted import format_time


def test_times_have_a_unit_that_a_person_would_use() -> None:
    assert [format_time(seconds) for seconds in (3, 119, 600, 7199, 7200 * 3)] == [
        "3 s",
        "119 s",
        "10 min",
        "120 min",
        "6.0 h",
    ]
