"""Meanings of the columns of views, which most of them have from the tables and views that they read."""

import re
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import NamedTuple

from catalog.ingest.table_files import declared_tables
from catalog.ingest.view_files import views

_LITERAL = re.compile(r"'[^']*'")
_SELECT = re.compile(r"^SELECT\b", re.MULTILINE)


class Meaning(NamedTuple):
    """What a column means, and which relation states it."""

    text: str
    relation: str


NO_MEANING = Meaning("", "")


@cache
def meanings_in(relation: str) -> Mapping[str, Meaning]:
    """Return column -> its meaning in a table or view.

    A view states the meanings of the columns that it computes. It has the others from the tables and views that it
    reads: first those of its outermost SELECT, in their order, then those of its common table expressions.
    """
    if relation in declared_tables():
        columns = declared_tables()[relation].columns
        return MappingProxyType({column.name: Meaning(column.meaning, relation) for column in columns})
    own = {name: Meaning(text, relation) for name, text in views()[relation].column_comments.items()}
    meanings: dict[str, Meaning] = {}
    for source in reversed(_sources(relation)):
        meanings |= meanings_in(source)
    return MappingProxyType(meanings | own)


def _sources(view: str) -> tuple[str, ...]:
    """Return the tables and views that a view reads, those with the more important meanings first."""
    text = _LITERAL.sub("''", views()[view].statement)
    outermost = max((match.start() for match in _SELECT.finditer(text)), default=0)
    words = re.findall(r"\w+", text[outermost:]) + re.findall(r"\w+", text[:outermost])
    known = declared_tables().keys() | views().keys()
    return tuple(dict.fromkeys(word for word in words if word in known and word != view))
