"""`mlprune methods`: fits the terminal, has exact formats, and imports no tensor library."""

import json
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from mlprune.methods import SCORES
from ray_jobs.cli.application import app
from tests.plugin_packages import CUBIC


def methods(*arguments: str, columns: str = "80") -> str:
    done = CliRunner().invoke(app, ["methods", *arguments], env={"COLUMNS": columns})
    assert done.exit_code == 0, done.stderr
    return done.stdout


def test_the_list_fits_the_terminal_and_json_is_complete() -> None:
    for width in (40, 80, 160):
        assert max(map(len, methods(columns=str(width)).splitlines())) <= width
    rows = json.loads(methods("--kind", "score", "--format", "json"))
    assert [row["name"] for row in rows if row["source"] == "built-in"] == list(SCORES)
    assert {"formula", "needs", "cost", "citation"} <= set(rows[0])
    assert methods("--kind", "structure", "--format", "csv").startswith("kind,name,source,")


def test_a_file_is_listed_when_it_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "shown.py").write_text(CUBIC.replace('name="cubic"', 'name="shown"'))
    (row,) = [
        row
        for row in json.loads(methods("--allow-plugins", str(tmp_path / "shown.py"), "--format", "json"))
        if row["name"] == "shown"
    ]
    assert row["source"] == "shown.py"
    assert row["parameters"] == "power=3.0, floor=0.0"


def test_an_unknown_kind_is_refused() -> None:
    done = CliRunner().invoke(app, ["methods", "--kind", "scores"])
    assert done.exit_code != 0
    assert "score" in str(done.exception)


def test_no_tensor_library_is_imported() -> None:
    code = (
        "import sys; from ray_jobs.cli.application import app; app(['methods'], standalone_mode=False); "
        "print([name for name in ('torch', 'ray', 'duckdb', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_without_arguments_the_table_of_what_goes_together_fits_one_screen() -> None:
    lines = methods(columns="100").splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 100
    assert all(any(line.startswith(f"{score} ") for line in lines) for score in SCORES)


def test_a_name_shows_its_methods_in_full_and_an_unknown_one_the_nearest() -> None:
    assert "arXiv:2301.00774" in methods("sparsegpt")
    assert [row["kind"] for row in json.loads(methods("wanda", "--format", "json"))] == ["score"]
    done = CliRunner().invoke(app, ["methods", "sparsegtp"])
    assert done.exit_code != 0
    assert "sparsegpt" in str(done.exception)
