"""The main benchmark runs on a tiny model. Its figures are not checked."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).with_name("run.py")

pytestmark = pytest.mark.slow


def test_the_small_benchmark_makes_every_row_and_its_opponent_prunes_the_same_weights(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, str(RUN), "--small", "--out", str(out), "--folder", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(out.read_text(encoding="utf-8"))
    rows = {row["name"]: row for row in figures["rows"]}
    assert {"mask", "ten", "sequential", "dense", "hundred", "hundred bfloat16", "bytes", "fair rate"} <= set(rows)
    assert rows["fair masks"]["is_reached"], rows["fair masks"]
    assert all(row["what"] in done.stdout for row in rows.values())
    measured = figures["measurements"]
    assert [measured[name]["n_variants"] for name in ("sequential", "dense", "ten", "hundred")] == [1, 1, 10, 100]
    assert measured["hundred"]["mean_real_tokens"] == pytest.approx(0.6 * 64, rel=0.01)
    assert figures["conditions"]["cores"] >= 1
    assert [path.name for path in tmp_path.iterdir()] == ["figures.json"], "the temporary folder is gone"


def test_rows_can_be_asked_for_one_by_one(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    command = [sys.executable, str(RUN), "--small", "--only", "mask", "--out", str(out), "--folder", str(tmp_path)]
    subprocess.run(command, capture_output=True, check=True)
    figures = json.loads(out.read_text(encoding="utf-8"))
    assert [row["name"] for row in figures["rows"]] == ["mask", "mask tied"]
    assert set(figures["measurements"]) == {"rate", "kernel"}
