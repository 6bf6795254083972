"""The imports of the whole project, those inside functions included, have no circle."""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

IMPORTED_BY_NAME = re.compile(r"\bimport_module\(\s*[\"']([\w.]+)[\"']")
ROOT = Path(__file__).parents[1]
PACKAGES = ("mlprune", "catalog", "ray_jobs")
ON_ACCESS = {("mlprune", "mlprune.api"), ("mlprune", "mlprune.version")}
"""The functions `mlprune.open`, `plan` and `run` are found on first access, which happens in scripts of users only, and
so is the version, whose module imports nothing of the package."""


@cache
def import_names() -> dict[str, frozenset[str]]:
    """Module -> the names that it imports."""
    paths = (path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): frozenset(
            imported(path.read_text("utf-8"))
        )
        for path in paths
    }


def imported(text: str) -> Iterator[str]:
    """The names that a module imports anywhere; `from a import b` gives `a.b`."""
    yield from IMPORTED_BY_NAME.findall(text)
    for node in statements(ast.parse(text)):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), names=names, level=0):
                yield from (f"{module}.{alias.name}" for alias in names)


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """A statement and all statements in it. Expressions, most of a tree, have none."""
    yield node
    for name in ("body", "handlers", "orelse", "finalbody", "cases"):
        parts = getattr(node, name, ())
        for part in parts if isinstance(parts, list) else ():
            yield from statements(part)


def import_graph(imports: Mapping[str, Iterable[str]]) -> dict[str, set[str]]:
    """Module -> the modules that it imports; a name in a module is the module."""
    graph: dict[str, set[str]] = {}
    for module, names in imports.items():
        found = {name if name in imports else name.rpartition(".")[0] for name in names}
        graph[module] = {name for name in found if name in imports and name != module}
    return graph


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """The modules of one circle of imports; empty if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as err:
        return list(err.args[1])
    return []


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    graph = import_graph(import_names())
    assert graph["mlprune"] == {name for _, name in ON_ACCESS}
    assert "ray_jobs.driver.describe_recipe" in graph["mlprune.api.recipes"], "imports inside functions count"
    for module, name in ON_ACCESS:
        graph[module].remove(name)
    assert circle(graph) == []


def test_imports_in_functions_and_by_name_close_a_circle() -> None:
    lazy = "def f():\n    from p import b\n"
    by_name = "import importlib\n\ndef __getattr__(_):\n    return importlib.import_module('p.a')\n"
    graph = import_graph({"p": (), "p.a": imported(lazy), "p.b": imported(by_name)})
    assert graph == {"p": set(), "p.a": {"p.b"}, "p.b": {"p.a"}}
    assert set(circle(graph)) == {"p.a", "p.b"}
    assert circle({**graph, "p.b": set()}) == []
