"""`mlprune doctor`: output and exit code."""

import json
from pathlib import Path

from typer.testing import CliRunner

from ray_jobs.cli.application import app


def test_what_is_missing_sets_the_exit_code_and_json_is_complete(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = CliRunner().invoke(app, ["doctor", "--store", str(tmp_path / "file"), "--address", "none", "--json"])
    rows = json.loads(result.stdout)
    assert result.exit_code == 1
    assert {row["subject"] for row in rows} == {"machine", "gpu", "ray", "store"}
    assert [row["subject"] for row in rows if row["level"] == "missing"] == ["store"]


def test_lines_say_what_is_fine(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["doctor", "--store", str(tmp_path / "new"), "--address", "none"])
    assert result.exit_code == 0
    assert all(line.startswith(("ok ", "warning ", " ")) for line in result.stdout.splitlines())
