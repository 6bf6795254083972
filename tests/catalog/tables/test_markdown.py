"""Tables in Markdown: aligned pipes and escaped characters."""

import re

from catalog.tables.grid import Grid, GridCell, value_grid
from catalog.tables.markdown import to_markdown
from catalog.tables.table import Table


def pipes(line: str) -> list[int]:
    return [match.start() for match in re.finditer(r"(?<!\\)\|", line)]


def test_pipes_are_aligned(facts: Table) -> None:
    caption, empty, *lines = to_markdown(value_grid(facts)).splitlines()
    assert caption.startswith("Facts: accuracy")
    assert empty == ""
    assert len({tuple(pipes(line)) for line in lines}) == 1
    assert len(lines) == 2 + len(facts.rows)
    assert re.fullmatch(r"\|( -+ \|){3}( -+: \|){5}", lines[1])


def test_bold_marks_and_special_characters() -> None:
    row = (GridCell("a|b*c_d"), GridCell("1.0", is_bold=True, mark="*"), GridCell("–", is_bold=True))
    text = to_markdown(Grid("t", "50 % *", 1, ("method", "en", "fr"), ((row,),)))
    assert r"| a\|b\*c\_d | **1.0**\* |   – |" in text
    assert text.startswith("50 % \\*\n")


def test_wide_characters_take_two_columns() -> None:
    rows = ((GridCell("中文"), GridCell("1.0")), (GridCell("fr"), GridCell("2.0")))
    lines = to_markdown(Grid("t", "c", 1, ("method", "en"), (rows,))).splitlines()[2:]
    assert lines[2] == "| 中文   | 1.0 |"
    assert lines[3] == "| fr     | 2.0 |"
