import re
from graphlib import CycleError

import pytest

from catalog.ingest.view_files import in_dependency_order, macros, views
from catalog.sql_files import SqlFile

READ = re.compile(r"\b(?:FROM|JOIN) (\w+)")


def files(**texts: str) -> dict[str, SqlFile]:
    return {name: SqlFile(name, text) for name, text in texts.items()}


def test_statements_come_after_those_that_they_read() -> None:
    ordered = in_dependency_order(files(a="SELECT * FROM c", b="SELECT 1 -- c and d", c="SELECT 2", d="FROM a JOIN b"))
    assert list(ordered) == ["b", "c", "a", "d"]


def test_statements_that_read_each_other_are_refused() -> None:
    with pytest.raises(CycleError):
        in_dependency_order(files(a="FROM b", b="FROM a"))


def test_every_view_comes_after_the_views_that_it_reads() -> None:
    order = list(views())
    read = {(name, other) for name, file in views().items() for other in READ.findall(file.statement) if other in order}
    assert [(name, other) for name, other in read if order.index(other) >= order.index(name)] == []
    assert len(read) > 10
    assert not set(order) & set(macros())


def test_the_view_of_languages_has_the_rows_of_the_language_table() -> None:
    assert "('zh-Hant', 'Hant', 5), ('ru', 'Cyrl', 4)" in views()["language_resources"].statement
