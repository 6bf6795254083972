"""Tables and views as files: everything in them, in types other programs know, with the name of the snapshot."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow.ipc
import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from catalog.store import Catalog, export_catalog
from mlprune.errors import BadInputError, QueryError
from mlprune.storage import Store
from ray_jobs.cli import app


def rows_of(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            return list(csv.DictReader(file))
    table = pyarrow.parquet.read_table(path) if path.suffix == ".parquet" else pyarrow.ipc.open_file(path).read_all()
    return list(table.to_pylist())


@pytest.mark.parametrize("format_", ["parquet", "csv", "arrow"])
def test_every_table_and_view_becomes_a_file(catalog: Catalog, tmp_path: Path, format_: str) -> None:
    done = export_catalog(catalog, tmp_path / "out", format=format_)
    assert {"metrics", "variants", "jobs", "gain_over_dense", "best_variant", "lineage"} <= set(done.n_rows)
    assert json.loads((tmp_path / "out" / "snapshot.json").read_text()) == {
        "snapshot_id": catalog.snapshot_id(),
        "format": format_,
        "n_rows": dict(done.n_rows),
    }
    for name, n_rows in done.n_rows.items():
        assert [{"n": n_rows}] == catalog.query(f"SELECT count(*) AS n FROM {name}")
        assert len(rows_of(tmp_path / "out" / f"{name}.{format_}")) == n_rows


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


def test_an_answer_becomes_a_data_frame_in_one_line_more(catalog: Catalog) -> None:
    table = catalog.arrow("SELECT language, value FROM metrics WHERE metric = $metric", {"metric": "accuracy"})
    frame = table.to_pandas()
    assert len(frame) == len(catalog.query("SELECT 1 AS one FROM metrics WHERE metric = 'accuracy'"))
    assert frame["value"].dtype == "float64"
    with pytest.raises(QueryError, match="only reads"):
        catalog.arrow("DELETE FROM metrics")


def test_what_cannot_be_exported_is_said(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no such format"):
        export_catalog(catalog, tmp_path, format="xlsx")
    with pytest.raises(QueryError, match="no such table or view"):
        export_catalog(catalog, tmp_path / "out", format="csv", only=["fold_state"])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("keep me")
    with pytest.raises(BadInputError, match="not empty"):
        export_catalog(catalog, tmp_path / "full", format="csv")


def test_the_command_says_how_much_it_wrote(filled: Store, tmp_path: Path) -> None:
    folder = str(tmp_path / "out")
    arguments = ["catalog", "export", "--store", filled.uri, "--to", folder, "--only", "metrics", "--format", "arrow"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0
    assert done.stdout.startswith("1 files, ")
    assert len(rows_of(tmp_path / "out" / "metrics.arrow")) > 0
