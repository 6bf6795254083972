from catalog.report.drawing.exhibits import english_first, evenly_spaced, has_several_rules, omission_note
from tests.catalog.report.rows import TASK


def test_a_selection_includes_the_first_and_the_last_value_in_order() -> None:
    assert evenly_spaced(list(range(10)), 4) == [0, 3, 6, 9]
    assert evenly_spaced([1, 2], 4) == [1, 2]
    assert omission_note(2, 2, "sets") == ""


def test_english_comes_before_all_other_languages() -> None:
    assert english_first(["sw", "de", "en", "de"]) == ["en", "de", "sw"]


def test_headings_have_the_rule_if_a_task_has_several() -> None:
    rows = [TASK, {**TASK, "task": "marc", "scoring_rule": "sum"}, {**TASK, "task": "facts"}]
    assert not has_several_rules(rows, TASK)
    assert has_several_rules([*rows, {**TASK, "scoring_rule": "sum"}], TASK)
