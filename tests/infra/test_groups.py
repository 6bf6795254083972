import pytest

from tests.groups import is_left_out, pytest_collection_modifyitems, with_group

pytest_plugins = ("pytester",)
FAST = "not thorough and not slow and not gpu"
REST = "thorough and not slow and not gpu"
ALL_THOROUGH = 'pytestmark = pytest.mark.thorough("kills processes")\n'
ALL_SLOW_ON_RAY = "pytestmark = [pytest.mark.slow, pytest.mark.ray]\n"
SOME_THOROUGH = '@pytest.mark.thorough("a cluster of its own")\ndef test_x() -> None: ...\ndef test_y() -> None: ...\n'
UNMARKED = "import torch\n\ndef test_x() -> None: ...\n"


@pytest.mark.parametrize(
    ("source", "in_fast", "in_rest"),
    [
        (ALL_THOROUGH, False, True),
        (ALL_SLOW_ON_RAY, False, False),
        (SOME_THOROUGH, True, True),
        (UNMARKED, True, False),
    ],
)
def test_a_file_is_not_imported_if_a_command_runs_none_of_its_tests(source: str, in_fast: bool, in_rest: bool) -> None:
    assert is_left_out(source, FAST) is not in_fast
    assert is_left_out(source, REST) is not in_rest


def test_a_file_is_imported_for_an_expression_of_another_form() -> None:
    assert not is_left_out(UNMARKED, "thorough or ray")
    assert not is_left_out(ALL_THOROUGH, "not (thorough and slow)")


@pytest.mark.parametrize(
    ("marks", "thorough", "expected"),
    [
        ("not slow and not gpu", "no", FAST),
        (FAST, "no", FAST),
        ("not slow and not gpu", "only", REST),
        ("", "only", "thorough"),
        ("gpu or slow", "no", "not thorough and (gpu or slow)"),
        ("not slow", None, "not slow"),
    ],
)
def test_a_group_is_added_to_other_marks_once(marks: str, thorough: str | None, expected: str) -> None:
    assert with_group(marks, thorough) == expected


@pytest.mark.parametrize("workers", [(), ("-n", "1")])
def test_a_group_is_chosen_in_each_process(pytester: pytest.Pytester, workers: tuple[str, ...]) -> None:
    pytester.makepyfile(
        "import pytest\n\ndef test_one(): ...\n\n\n@pytest.mark.thorough('long')\ndef test_two(): ...\n"
    )
    pytester.makeini("[pytest]\nmarkers = thorough(reason)\naddopts = -m 'not slow'\n")
    done = pytester.runpytest_subprocess("-p", "tests.groups", "--thorough", "no", *workers)
    done.assert_outcomes(passed=1)


@pytest.mark.parametrize("mark", [pytest.mark.thorough, pytest.mark.thorough(3)])
def test_a_test_that_is_thorough_without_a_reason_is_an_error(
    request: pytest.FixtureRequest, mark: pytest.MarkDecorator
) -> None:
    item = pytest.Function.from_parent(request.node.parent, name="test_x", callobj=lambda: None)
    item.add_marker(mark)
    with pytest.raises(pytest.UsageError, match="test_x"):
        pytest_collection_modifyitems([item])
