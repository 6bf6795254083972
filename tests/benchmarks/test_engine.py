"""The engine benchmark runs on a tiny model. Its figures are not checked."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ENGINE = Path(__file__).with_name("engine.py")

pytestmark = [pytest.mark.slow, pytest.mark.ray]


def test_the_small_benchmark_runs_the_recipe_in_all_four_ways(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    command = [sys.executable, str(ENGINE), "--small", "--out", str(out), "--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    figures = json.loads(out.read_text(encoding="utf-8"))
    runs = {name: found[0] for name, found in figures["runs"].items()}
    compared = ("here", "ray", "one", "two")
    assert {name: runs[name]["n_workers"] for name in compared} == {"here": 1, "ray": 1, "one": 1, "two": 2}
    assert len({runs[name]["n_jobs"] for name in compared}) == 1
    assert [runs[f"sweep-{n}"]["steps"].keys() >= {"observe", "sweep"} for n in (1, 2)] == [True, True]
    assert all(run["seconds"] > 0 for run in runs.values())
    assert [row["name"] for row in figures["rows"]] == ["ray", "replicas", "shared-observe", "shared-sweep"]
    assert all(row["what"] in done.stdout for row in figures["rows"])
    assert [path.name for path in tmp_path.iterdir()] == ["figures.json"], "the temporary folder is gone"
