"""Notebooks run without a screen: on a finished store, with other choices, and while a run writes to the store."""

import ast
import json
import re
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import mlprune
from catalog.store import Catalog
from mlprune.api import OpenStore, Relation
from mlprune.capabilities.notebook.notebook_file import CELLS, NotebookKind, jupyter_text, marimo_text, write_notebook
from mlprune.errors import BadInputError
from mlprune.store.store import Store
from tests.imported_files import imported_file
from tests.tiny_recipes import FinishedRun

VIEWS = ("curves", "heat_map", "changes", "flipped", "side_by_side")


@pytest.fixture(scope="module")
def store(tiny_run: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert tiny_run.store.local_root is not None
    return shutil.copytree(tiny_run.store.local_root, tmp_path_factory.mktemp("notebook") / "it's a `store`")


def run_marimo(store: Path, folder: Path, defs: Mapping[str, object] | None = None) -> Mapping[str, Any]:
    """Run a marimo notebook about a store, and return its variables."""
    path = folder / "notebook.py"
    path.unlink(missing_ok=True)
    write_notebook(str(store), path, "marimo")
    _, found = imported_file(path).app.run(defs=dict(defs or {}))
    return dict(found)


def run_jupyter(store: Path) -> dict[str, Any]:
    """Run the cells of a Jupyter notebook in order, and return its variables and what the cells show."""
    variables: dict[str, Any] = {}
    shown = []
    for cell in json.loads(jupyter_text(str(store)))["cells"]:
        if cell["cell_type"] == "code":
            tree = ast.parse("".join(cell["source"]))
            last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, cell["id"], "exec"), variables)
            if isinstance(last, ast.Expr):
                shown.append(eval(compile(ast.Expression(last.value), cell["id"], "eval"), variables))
    return {**variables, "shown": shown}


@pytest.fixture(scope="module")
def variables(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    return run_marimo(store, tmp_path_factory.mktemp("marimo"))


@pytest.mark.thorough("opens stores in further processes")
def test_marimo_shows_figures_tables_examples_and_their_sql(store: Path, variables: Mapping[str, Any]) -> None:
    views = {name: variables[name]._repr_html_() for name in VIEWS}
    assert all(views[name].startswith('<img alt="figure" src="data:image/png') for name in ("curves", "heat_map"))
    assert all("<summary>SQL</summary>" in views[name] and "SELECT" in views[name] for name in VIEWS[:4])
    assert (variables["task"], variables["split"]) == ("facts", "test")
    chosen = {"metric": variables["metric"], "split": variables["split"], "scoring_rule": variables["rule"]}
    expected = mlprune.open(store).metrics(task="facts", **chosen, method=variables["methods"])
    assert len(variables["methods"]) == 8
    assert sorted(variables["values"]["value"]) == sorted(expected["value"])
    assert f"{len(variables['flipped'].relations[0])} answers" in views["flipped"]


@pytest.mark.thorough("opens stores in further processes")
def test_another_choice_changes_what_is_below(store: Path, variables: Mapping[str, Any], tmp_path: Path) -> None:
    translated = next(
        row["label"] for row in mlprune.open(store).evaluations(task="translation") if not row["is_dense"]
    )
    chosen = {"metric": "accuracy", "split": "test", "rule": "mean", "languages": ["sw"], "methods": ["magnitude"]}
    chosen |= {"variant": translated, "example_language": "sw"}
    found = run_marimo(store, tmp_path, chosen)
    assert set(found["values"]["language"]) == {"sw"}
    assert set(found["values"]["method"]) == {"magnitude"}
    assert len(found["values"]) < len(variables["values"])
    view = found["side_by_side"]
    assert len(view.relations) == 2
    assert view.relations[0]["output"][0] in view.shown
    nothing = run_marimo(store, tmp_path, {**chosen, "languages": [], "methods": []})
    assert "No values" in nothing["curves"]._repr_html_()
    assert "No pruned" in nothing["heat_map"]._repr_html_()


@pytest.mark.thorough("opens stores in further processes")
def test_jupyter_shows_the_same(store: Path, variables: Mapping[str, Any]) -> None:
    found = run_jupyter(store)
    assert list(found["values"]) == list(variables["values"])
    for name in VIEWS[2:]:
        assert found[name]._repr_html_() == variables[name]._repr_html_()
    assert sum(hasattr(one, "_repr_html_") for one in found["shown"]) >= len(VIEWS) + 1
    document = json.loads(jupyter_text(str(store)))
    assert (document["nbformat"], document["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in document["cells"]]
    assert len(set(ids)) == len(ids)


def test_the_code_of_helpers_is_hidden_and_last_in_marimo() -> None:
    texts = marimo_text("runs").split("@app.cell")[1:]
    kinds = ["text" if "mo.md(" in text else "helper" if "(hide_code=True)" in text else "code" for text in texts]
    assert kinds == sorted(kinds, key="helper".__eq__)
    assert all("(hide_code=True)" in text and "\\n" not in text for text in texts if "mo.md(" in text)
    shown = [text.splitlines() for text, kind in zip(texts, kinds, strict=True) if kind == "code"]
    assert not any(line.startswith("    def ") for lines in shown for line in lines)
    for cell in json.loads(jupyter_text("runs"))["cells"]:
        if any(line.startswith("def ") for line in cell["source"]):
            assert cell["metadata"]["jupyter"]["source_hidden"]


@pytest.mark.thorough("opens stores in further processes")
def test_a_notebook_follows_a_store_that_a_run_writes_to(store: Path, tmp_path: Path) -> None:
    root = shutil.copytree(store, tmp_path / "store")
    (root / "catalog.duckdb").unlink(missing_ok=True)
    records = [record for record in Store(root).records("evaluations") if record.rows.get("metrics")]
    texts = {record.path: (root / record.path).read_bytes() for record in records[1:]}
    for path in texts:
        (root / path).unlink()
    run_continues = threading.Event()

    def write() -> None:
        run_continues.wait()
        for number, (path, text) in enumerate(texts.items()):
            (root / path).write_bytes(text)
            if number % 30 == 0:
                with Catalog.open(Store(root)) as catalog:
                    catalog.fold()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        first = run_marimo(root, tmp_path, {"latest": _Starting(mlprune.open(root), run_continues)})
    finally:
        run_continues.set()
        writer.join()
    assert first["curves"]._repr_html_()
    last = run_marimo(root, tmp_path)
    assert len(last["latest"].evaluations()) == len(records)
    assert len(first["content"]) < len(last["content"])


class _Starting:
    """An open store that lets a run continue when it is first asked."""

    def __init__(self, store: OpenStore, run_continues: threading.Event) -> None:
        self._store, self._run_continues = store, run_continues

    def __getattr__(self, name: str) -> object:
        found = getattr(self._store, name)

        def called(*args: object, **kwargs: object) -> object:
            answer = found(*args, **kwargs)
            self._run_continues.set()
            return answer

        return called


def test_cells_use_the_public_interface_alone() -> None:
    text = CELLS.read_text("utf-8")
    assert set(re.findall(r"\b(?:latest|store)\.(\w+)", text)) <= set(vars(OpenStore))
    assert set(re.findall(r"\bmlprune\.(\w+)", text)) == {"open", "errors"}
    assert "._" not in text.replace("._repr_html_", "")
    assert {"sql", "parameters", "columns"} <= {*dir(Relation), "sql", "parameters", "columns"}


@pytest.mark.parametrize("kind", ["marimo", "jupyter"])
def test_a_notebook_is_not_overwritten_and_names_of_stores_are_texts(kind: NotebookKind, tmp_path: Path) -> None:
    name = "s'\"\n<script>`{store}`"
    text = marimo_text(name) if kind == "marimo" else jupyter_text(name)
    assert "<script>`" not in text.replace(repr(name), "").replace(json.dumps(repr(name))[1:-1], "")
    if kind == "marimo":
        assert repr(name) in text
        ast.parse(text)
    path = tmp_path / "notebook"
    path.write_text("mine")
    with pytest.raises(BadInputError, match="exists"):
        write_notebook("runs", path, kind)
    assert path.read_text() == "mine"
    with pytest.raises(BadInputError, match="written"):
        write_notebook("runs", path / "inside", kind)
