"""The functions of the package and relations."""

import pydoc
import re
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import polars
import pyarrow as pa
import pytest

import mlprune
import mlprune.api
import mlprune.planning
from mlprune.api import RecipePlan
from mlprune.api import relation as late_columns
from mlprune.api.relation import SHOWN_COLUMNS, SHOWN_ROWS, LateColumns, Relation
from mlprune.errors import BadInputError, JobsFailedError, QueryError, RecipeError
from mlprune.planning.pending import NO_REMAKE, Remake
from mlprune.store.store import Store
from ray_jobs.driver.describe_recipe import describe_recipe
from ray_jobs.driver.run_state import DONE, SOME_FAILED, RunSummary
from tests.refusals import refused
from tests.tiny_recipes import results, small_recipe, write_recipe

ROOT = Path(__file__).parents[3]
LIBRARIES = [
    "torch",
    "numpy",
    "duckdb",
    "pyarrow",
    "ray",
    "transformers",
    "catalog",
    "ray_jobs",
    "pandas",
    "polars",
    "rich",
    "typer",
]


def test_importing_the_package_and_its_interface_loads_no_library() -> None:
    code = "import sys, mlprune; n = len(sys.modules); mlprune.open; print(n, *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    n_first, *names = done.stdout.split()
    assert not set(LIBRARIES) & {name.partition(".")[0] for name in names}
    assert int(n_first) < 80


def test_plan_is_a_function_that_the_planner_does_not_hide(tiny_inputs: Path, tmp_path: Path) -> None:
    assert isinstance(mlprune.plan, types.FunctionType)
    assert isinstance(mlprune.planning, types.ModuleType)
    assert not {"open", "plan", "run"} & {path.stem for path in (ROOT / "mlprune").iterdir()}
    assert {"open", "plan", "run"} <= set(dir(mlprune))
    stub = (ROOT / "mlprune" / "__init__.pyi").read_text("utf-8")
    assert set(re.findall(r"import (\w+) as \1\b", stub)) == {"open", "plan", "run"}
    with pytest.raises(AttributeError, match="opem"):
        mlprune.opem  # noqa: B018
    assert mlprune.plan is mlprune.api.plan
    assert "allow_many:" in pydoc.render_doc(mlprune.plan)
    recipe = write_recipe(tiny_inputs, small_recipe(), name="small.yaml")
    planned = mlprune.plan(recipe, store=tmp_path / "store", cluster="1x(4 CPU, 16 GiB)")
    assert isinstance(planned, RecipePlan)
    lines = describe_recipe(recipe, str(tmp_path / "store")).text.splitlines()
    n_steps = len(planned.steps)
    assert planned.text.splitlines()[: n_steps + 1] == lines[: n_steps + 1]
    assert "4 CPU" in planned.text
    assert str(planned) == planned.text
    assert planned.n_variants == 4
    assert planned.n_to_do == sum(step.n_jobs for step in planned.steps) > 0
    assert "evaluate" in planned._repr_html_()
    assert not (tmp_path / "store").exists()


def test_a_finished_recipe_has_nothing_to_do_as_a_file_and_as_a_mapping(
    tiny_inputs: Path, filled_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_inputs)
    recipe = small_recipe()
    recipe["variants"] = tuple(recipe["variants"])
    recipe["model"] = {"path": Path("model")}
    planned = mlprune.plan(recipe, store=filled_folder)
    assert planned.n_to_do == 0
    before = results(Store(filled_folder))
    with mlprune.run(recipe, store=filled_folder, address="none") as store:
        assert len(store.variants()) == 4
    assert results(Store(filled_folder)) == before


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"variants": [{"score": "wnda"}]}, RecipeError),
        ({"model": {"path": object()}}, RecipeError),
        ({"folder": "."}, RecipeError),
    ],
)
def test_a_wrong_recipe_is_refused(tiny_inputs: Path, tmp_path: Path, change: dict, error: type[Exception]) -> None:
    with pytest.raises(error):
        mlprune.plan({**small_recipe(), **change}, store=tmp_path / "store")
    with pytest.raises(BadInputError):
        mlprune.plan(tiny_inputs / "no-recipe.yaml", store=tmp_path / "store")
    with pytest.raises(BadInputError, match="shrink"):
        mlprune.plan(tiny_inputs / "small.yaml", store=tmp_path / "store", shrink=0)
    with pytest.raises(BadInputError, match="cluster"):
        mlprune.plan(tiny_inputs / "small.yaml", store=tmp_path, cluster="1x(1 CPU, 1 GiB)", address="auto")
    assert not (tmp_path / "store").exists()


def test_failed_jobs_and_interruptions_reach_the_script(
    tiny_inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray_jobs.driver import run_recipe  # noqa: PLC0415 - replaced here

    summary = RunSummary(SOME_FAILED, 3, 2, 1)
    monkeypatch.setattr(run_recipe, "run_recipe", lambda *_, **__: summary)
    with refused(JobsFailedError, failed=2):
        mlprune.run(tiny_inputs / "small.yaml", store=tmp_path / "store")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, NO_REMAKE),
        ({"remake": True}, Remake(is_wanted=True)),
        ({"remake_only": ["wanda-50"]}, Remake(is_wanted=True, variants=("wanda-50",))),
    ],
)
def test_a_run_makes_retired_files_again_if_asked(
    filled_folder: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], expected: Remake
) -> None:
    from ray_jobs.driver import run_recipe  # noqa: PLC0415 - replaced here

    given: list[object] = []

    def run(*_: object, options: run_recipe.RunOptions, **__: object) -> RunSummary:
        given.append(options.remake)
        return RunSummary(DONE, 0, 0, 0)

    monkeypatch.setattr(run_recipe, "run_recipe", run)
    mlprune.run({}, store=filled_folder, **options).close()
    assert given == [expected]


@pytest.mark.thorough("opens stores in further processes")
def test_an_interrupted_run_raises_and_the_same_call_resumes_it(
    tiny_inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlprune.steps.evaluate.model_evaluation import EvaluateJob  # noqa: PLC0415 - interrupted here

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    recipe = write_recipe(tiny_inputs, {**small_recipe(), "variants": []}, name="stopped.yaml")
    with monkeypatch.context() as patch:
        patch.setattr(EvaluateJob, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            mlprune.run(recipe, store=tmp_path / "store", address="none")
    store = Store(tmp_path / "store")
    assert not store.record_names("evaluations")
    assert not store.list("claims")
    opened = mlprune.run(recipe, store=tmp_path / "store", address="none")
    assert set(opened.evaluations()["language"]) == {"en", "fr"}
    assert opened.model_folder("dense") == tiny_inputs / "model"


VALUES = pa.table({"label": ["a", None, "c"], "method": ["x", "x", "y"]})
LATE = LateColumns("number", VALUES, ("label", "value", "method"))
TABLE = pa.table({"value": [0.1, 0.2, None, 0.4], "number": pa.array([2, 0, 1, 2], pa.int32())})
ROWS = [
    {"label": "c", "value": 0.1, "method": "y"},
    {"label": "a", "value": 0.2, "method": "x"},
    {"label": None, "value": None, "method": "x"},
    {"label": "c", "value": 0.4, "method": "y"},
]


@pytest.mark.parametrize("rows_at_once", [1, 3, 10])
def test_texts_are_joined_to_their_rows(monkeypatch: pytest.MonkeyPatch, rows_at_once: int) -> None:
    monkeypatch.setattr(late_columns, "ROWS_AT_ONCE", rows_at_once)
    relation = Relation(TABLE, sql="", late=LATE)
    assert relation.columns == ("label", "value", "method")
    assert list(relation) == ROWS
    assert relation.arrow().to_pylist() == ROWS
    assert relation.pl().rows(named=True) == ROWS
    assert relation.pl().columns == relation.df().columns.tolist() == list(relation.columns)
    assert relation["label"] == ["c", "a", None, "c"]
    assert relation["value"] == [0.1, 0.2, None, 0.4]
    assert polars.DataFrame(relation).equals(relation.pl())
    assert "number" not in repr(relation) + relation._repr_html_()


def test_no_rows_keep_the_columns() -> None:
    relation = Relation(TABLE.slice(0, 0), sql="", late=LATE)
    assert relation.pl().columns == ["label", "value", "method"]
    assert relation.arrow().column_names == ["label", "value", "method"]
    assert list(relation) == []


RELATION_TABLE = pa.table({"label": ["a", None, "<b>\x1b[0m"], "value": [0.25, None, 1.0], "n": [1, 2, 3]})


@pytest.fixture
def relation() -> Relation:
    return Relation(RELATION_TABLE, sql="SELECT $x", parameters={"x": 1}, notes=["a note"])


def test_rows_columns_and_frames_are_those_of_the_table(relation: Relation) -> None:
    assert relation.columns == ("label", "value", "n")
    assert len(relation) == 3
    assert next(iter(relation)) == {"label": "a", "value": 0.25, "n": 1}
    assert relation["value"] == [0.25, None, 1.0]
    assert relation.arrow() is RELATION_TABLE
    assert relation.pl().rows() == [("a", 0.25, 1), (None, None, 2), ("<b>\x1b[0m", 1.0, 3)]
    assert relation.df()["n"].tolist() == [1, 2, 3]
    assert polars.DataFrame(relation).equals(relation.pl())
    assert relation._ipython_key_completions_() == ["label", "value", "n"]
    assert (relation.sql, relation.parameters) == ("SELECT $x", {"x": 1})


def test_a_row_is_the_only_one(relation: Relation) -> None:
    assert Relation(RELATION_TABLE.slice(0, 1), sql="").row() == {"label": "a", "value": 0.25, "n": 1}
    with pytest.raises(QueryError, match="exactly one"):
        relation.row()
    assert not Relation(RELATION_TABLE.slice(0, 0), sql="")


def test_names_of_columns_are_unique_and_known(relation: Relation) -> None:
    with pytest.raises(QueryError, match="same name"):
        Relation(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]), sql="")
    with pytest.raises(QueryError, match="label"):
        relation["labl"]


@pytest.mark.parametrize("late", [None, LATE])
def test_parts_of_a_relation_are_those_of_its_rows_and_columns(late: LateColumns | None) -> None:
    table = TABLE if late else pa.Table.from_pylist(ROWS)
    relation = Relation(table, sql="SELECT 1", parameters={"x": 1}, notes=["a note"], late=late)
    assert relation.shape == (4, 3)
    assert (relation[0], relation[-1]) == (ROWS[0], ROWS[-1])
    for key in (slice(2), slice(1, 3), slice(-2, None), slice(None, None, -2), slice(9, None)):
        part = relation[key]
        assert list(part) == ROWS[key]
        assert part["label"] == [row["label"] for row in ROWS[key]]
        assert (part.sql, part.parameters, part.notes) == ("SELECT 1", {"x": 1}, ("a note",))
    assert list(relation.head()) == ROWS
    assert list(relation.head(1)) == ROWS[:1]
    for names in (["value", "label"], ["method"], ["value"]):
        part = relation[names]
        assert part.columns == tuple(names)
        assert list(part) == [{name: row[name] for name in names} for row in ROWS]
        assert part.pl().columns == part.to_pandas().columns.tolist() == names
    assert relation[["label", "value"]].to_polars().rows() == [(row["label"], row["value"]) for row in ROWS]


@pytest.mark.parametrize("key", [4, -5, 1.5, None, ["n", "labl"], ["n", "n"], slice("a", None), slice(0, 3, 0), {"n"}])
def test_other_parts_are_refused(relation: Relation, key: Any) -> None:
    with pytest.raises(QueryError):
        relation[key]


def test_integers_with_missing_values_stay_integers_in_pandas() -> None:
    columns = {
        "seed": pa.array([1, None, 3], pa.int64()),
        "n": pa.array([1, 2, 3], pa.int32()),
        "value": [0.5, None, 1],
    }
    frame = Relation(pa.table(columns), sql="").df()
    assert [str(kind) for kind in frame.dtypes] == ["Int64", "int32", "float64"]
    assert frame["seed"].sum() == 4


def test_views_escape_texts_and_show_the_first_rows(relation: Relation) -> None:
    html = relation._repr_html_()
    assert "&lt;b&gt;" in html
    assert "<b>" not in html
    assert "\x1b" not in html + repr(relation)
    assert "a note" in html
    assert "a note" in repr(relation)
    wide = Relation(pa.table({f"column_{n:02d}": ["x"] for n in range(31)} | {"empty": [None]}), sql="")._repr_html_()
    assert (wide.count("<th "), wide.count("<td ")) == (SHOWN_COLUMNS, SHOWN_COLUMNS)
    assert "22 more columns" in wide
    assert "column_30, empty" in wide
    assert "<th " not in relation[:0]._repr_html_()
    many = Relation(pa.table({"n": range(100)}), sql="")
    assert many._repr_html_().count("<tr>") == SHOWN_ROWS + 1
    assert f"{SHOWN_ROWS} of 100 rows" in repr(many)


def test_a_wide_relation_has_one_line_per_row_and_names_the_other_columns() -> None:
    table = pa.table({f"column_{number:03d}": ["x" * 30, "y\nz"] for number in range(40)})
    lines = repr(Relation(table, sql="")).splitlines()
    assert len(lines[1]) <= 120
    assert "column_039" in " ".join(lines)
    assert sum(line.startswith("x") for line in lines) == 1


def test_a_library_that_is_not_installed_is_named(relation: Relation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlprune.api.relation.find_spec", lambda _: None)
    for name, call in {"polars": relation.pl, "pandas": relation.df}.items():
        with pytest.raises(BadInputError, match=f"pip install {name}"):
            call()


def test_an_empty_relation_names_its_columns() -> None:
    text = repr(Relation(RELATION_TABLE.slice(0, 0), sql="", notes=["why"]))
    assert "label, value, n" in text
    assert text.endswith("why")
