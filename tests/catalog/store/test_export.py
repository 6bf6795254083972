"""Tables and views as files: their content, in types of other programs, with the id of the snapshot."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import pandas
import polars
import pyarrow.ipc
import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from catalog.store import Catalog, export_catalog
from mlprune.errors import BadInputError, QueryError
from mlprune.store.store import Store
from ray_jobs.cli.application import app

PAGE = Path(__file__).parents[3] / "docs" / "export.md"
RELATIONS = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'main' ORDER BY table_name"
READERS = {"parquet": (pandas.read_parquet, polars.read_parquet), "arrow": (pandas.read_feather, polars.read_ipc)}
"""Format -> what reads it in pandas and in polars."""


def rows_of(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            return list(csv.DictReader(file))
    table = pyarrow.parquet.read_table(path) if path.suffix == ".parquet" else pyarrow.ipc.open_file(path).read_all()
    return list(table.to_pylist())


@pytest.mark.thorough("fills and folds catalogs of its own")
@pytest.mark.parametrize("format_", ["parquet", "csv", "arrow"])
def test_every_table_and_view_becomes_a_file_that_pandas_and_polars_read(
    methods_catalog: Catalog, tmp_path: Path, format_: str
) -> None:
    done = export_catalog(methods_catalog, tmp_path / "out", format=format_)
    assert {"metrics", "variants", "jobs", "differences", "best_variant"} <= set(done.n_rows)
    assert not [name for name in done.n_rows if "internal" in name]
    assert json.loads((tmp_path / "out" / "snapshot.json").read_text()) == {
        "snapshot_id": methods_catalog.snapshot_id(),
        "format": format_,
        "n_rows": dict(done.n_rows),
    }
    for name, n_rows in done.n_rows.items():
        assert [{"n": n_rows}] == methods_catalog.query(f"SELECT count(*) AS n FROM {name}")
        path = tmp_path / "out" / f"{name}.{format_}"
        frames = [read(path) for read in READERS.get(format_, ())]
        assert {len(rows_of(path)), *map(len, frames)} == {n_rows}
        assert len({tuple(frame.columns) for frame in frames}) <= 1
    metrics = [read(tmp_path / "out" / f"metrics.{format_}")["value"] for read in READERS.get(format_, ())]
    assert not metrics or metrics[0].tolist() == metrics[1].to_list()


def test_values_keep_their_types_and_null_stays_null(catalog: Catalog, tmp_path: Path) -> None:
    export_catalog(catalog, tmp_path / "out", format="parquet", only=["variants"])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["snapshot.json", "variants.parquet"]
    key = "variant_id"
    expected = sorted(catalog.query("SELECT * FROM variants"), key=lambda row: row[key])
    assert sorted(rows_of(tmp_path / "out" / "variants.parquet"), key=lambda row: row[key]) == expected


def test_a_list_is_json_text_in_csv(methods_catalog: Catalog, tmp_path: Path) -> None:
    export_catalog(methods_catalog, tmp_path / "out", format="csv", only=["neuron_activity", "metrics"])
    values = [float(row["value"]) for row in rows_of(tmp_path / "out" / "metrics.csv")]
    assert sorted(values) == sorted(row["value"] for row in methods_catalog.query("SELECT value FROM metrics"))
    header = (tmp_path / "out" / "neuron_activity.csv").read_text().splitlines()[0]
    assert "n_active" in header


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_every_answer_becomes_a_data_frame(methods_catalog: Catalog) -> None:
    relations = [
        name for (name,) in methods_catalog.use_connection(lambda one: one.cursor().execute(RELATIONS).fetchall())
    ]
    assert {"metrics", "differences", "neuron_activity"} <= set(relations)
    for name in relations:
        table = methods_catalog.arrow(f"SELECT * FROM {name} LIMIT 50")
        expected = methods_catalog.query(f"SELECT count(*) AS n FROM (SELECT * FROM {name} LIMIT 50)")
        assert [{"n": len(table.to_pandas())}] == [{"n": len(polars.from_arrow(table))}] == expected
    with pytest.raises(QueryError, match="can only read"):
        methods_catalog.arrow("DELETE FROM metrics")


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_the_code_in_the_page_gives_the_data_frames_that_it_describes(
    filled: Store, catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (section,) = re.findall(r"\n## Export and other tools\n(.*?)\n## ", PAGE.read_text("utf-8"), re.DOTALL)
    (command,) = re.findall(r"```\nmlprune (export --as .*)\n```", section)
    (tmp_path / "runs").symlink_to(filled.uri)
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(app, command.split()).exit_code == 0
    files, answer = (_values(block) for block in re.findall(r"```python\n(.*?)```", section, re.DOTALL))
    gains = catalog.query("SELECT * FROM differences")
    assert isinstance(files["gains"], pandas.DataFrame)
    assert isinstance(files["same"], polars.DataFrame)
    assert sorted(files["same"]["variant_id"]) == sorted(files["gains"]["variant_id"])
    assert sorted(files["gains"]["variant_id"]) == sorted(row["variant_id"] for row in gains)
    assert isinstance(answer["frame"], polars.DataFrame)
    frames = (answer["frame"], answer["gains"].df(), answer["gains"].arrow())
    n_expected = sum(row["language"] == "sw" for row in gains)
    assert [len(frame) for frame in frames] == [n_expected] * 3
    assert n_expected


def _values(block: str) -> dict[str, Any]:
    """Return the variables of a block of Python at its end."""
    names: dict[str, Any] = {}
    exec(block, names)
    return names


def test_an_export_that_is_not_possible_is_an_error(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no such format"):
        export_catalog(catalog, tmp_path, format="xlsx")
    with pytest.raises(QueryError, match="unknown table or view"):
        export_catalog(catalog, tmp_path / "out", format="csv", only=["fold_state"])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("keep me")
    with pytest.raises(BadInputError, match="not empty"):
        export_catalog(catalog, tmp_path / "full", format="csv")


def test_an_export_that_is_interrupted_leaves_no_folder_and_is_repeated(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: Catalog) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Catalog, "snapshot_id", interrupt)
        with pytest.raises(KeyboardInterrupt):
            export_catalog(catalog, tmp_path / "out", format="csv", only=["variants"])
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "out").mkdir()  # an empty folder is replaced
    export_catalog(catalog, tmp_path / "out", format="csv", only=["variants"])
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_command_says_how_much_it_wrote(filled: Store, tmp_path: Path) -> None:
    folder = str(tmp_path / "out")
    arguments = ["export", "--store", filled.uri, "--out", folder, "--only", "metrics", "--as", "arrow"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0
    assert done.stdout.startswith("1 files, ")
    assert len(rows_of(tmp_path / "out" / "metrics.arrow")) > 0
