"""The scoring benchmark runs on a tiny model. Its figures are not checked."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed: pip install -e '.[harness]'")

RUN = Path(__file__).with_name("scoring.py")

pytestmark = pytest.mark.slow


def test_the_small_benchmark_makes_every_row_and_both_sides_score_alike(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    command = [sys.executable, str(RUN), "--small", "--out", str(out), "--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(out.read_text(encoding="utf-8"))["rows"]}
    assert {
        "scoring",
        "scoring memory",
        "bfloat16 both",
        "batches of 1",
        "step",
        "twenty theirs",
        "twenty ours",
    } <= set(rows)
    assert rows["scoring equal"]["is_reached"], rows["scoring equal"]
    assert rows["scoring greedy"]["is_reached"], rows["scoring greedy"]
    assert all(row["what"] in done.stdout for row in rows.values())
