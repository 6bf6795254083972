"""Regular expressions of users: the group that is found, refusals, and the time of expressions that stop `re`."""

import time

import pytest

from mlprune.corpus.linear_regex import check_pattern, first_groups
from mlprune.errors import BadInputError


def test_the_group_of_the_first_match_is_returned() -> None:
    texts = ["the answer is 12, or 13", "none", "answer is १२"]
    assert first_groups(r"answer is (?P<answer>\pN+)", texts) == ["12", "", "१२"]
    assert first_groups(r"(?s).*is (?P<answer>\d+)", ["is 1\nis 2"]) == ["2"]


@pytest.mark.parametrize(
    "pattern",
    [
        r"(\d+)",
        r"\d+",
        r"(?P<number>\d+)",
        r"(?P<answer>a)(?P<b>b)",
        "(?P<answer>",
        r"(?P<answer>(?<=a)b)",
        r"(?P<answer>a)\1",
    ],
)
def test_a_pattern_without_the_group_or_outside_the_syntax_is_refused(pattern: str) -> None:
    with pytest.raises(BadInputError) as err:
        check_pattern(pattern)
    assert err.value.context["got"] == pattern


@pytest.mark.parametrize(
    "pattern",
    [r"^(?P<answer>(?:a+)+)$", r"(?P<answer>(?:a|aa)*b)", r"(?P<answer>(?:a*)*c)", r"(?P<answer>(?:a?){200}a{200})x"],
)
def test_patterns_of_exponential_time_in_other_engines_end(pattern: str) -> None:
    start = time.process_time()
    assert first_groups(pattern, ["a" * 50_000 + "!"]) == [""]
    assert time.process_time() - start < 5
