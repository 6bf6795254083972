"""The views and table macros of the catalog, each after the views that it reads."""

import re
from collections.abc import Mapping
from functools import cache
from graphlib import TopologicalSorter
from types import MappingProxyType

from catalog.sql_files import SqlFile, sql_files
from mlprune.languages import languages_with_resource_class


def in_dependency_order(files: Mapping[str, SqlFile]) -> dict[str, SqlFile]:
    """Sort statements so that each comes after those whose names occur in it; ties by name.

    Raises:
        graphlib.CycleError: two statements read each other.
    """
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for name in sorted(files):
        words = set(re.findall(r"\w+", files[name].statement))
        sorter.add(name, *sorted(words & files.keys() - {name}))
    sorter.prepare()
    ordered: dict[str, SqlFile] = {}
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        ordered |= {name: files[name] for name in ready}
        sorter.done(*ready)
    return ordered


@cache
def views() -> Mapping[str, SqlFile]:
    """View name -> file, each after the views that it reads. `{languages}` becomes the rows of the language table."""
    files = [SqlFile(file.name, file.text.replace("{languages}", _language_rows())) for file in sql_files("views")]
    return MappingProxyType(in_dependency_order({file.name: file for file in files}))


def _language_rows() -> str:
    """Rows of (language, script, resource class), as SQL."""
    return ", ".join(f"('{tag}', '{script}', {number})" for tag, script, number in languages_with_resource_class())


@cache
def macros() -> Mapping[str, SqlFile]:
    """Return macro name -> file. A table macro is a view with an argument; it reads tables and views."""
    return MappingProxyType({file.name: file for file in sql_files("macros")})
