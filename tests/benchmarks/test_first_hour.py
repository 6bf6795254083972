"""The measurements of the first hour on a GPU run on a pretended one. Their numbers are not checked."""

import json
from pathlib import Path

import pytest

from tests.benchmarks.first_hour.__main__ import main
from tests.benchmarks.first_hour.measurements import MEASUREMENTS


def measured(folder: Path, *names: str) -> dict:
    out = folder / "found.json"
    assert main(["--pretend", "--folder", str(folder), "--out", str(out), *(f"--only={name}" for name in names)]) == 0
    return json.loads(out.read_text())


@pytest.mark.thorough("runs several recipes on a pretended GPU")
def test_a_measurement_writes_its_answer_and_its_figures(tmp_path: Path) -> None:
    (found,) = measured(tmp_path, "masks").values()
    assert found["answer"].startswith("0 of ")
    assert len(found["figures"]) == 6


def test_a_measurement_that_fails_is_written_down_and_the_next_begins(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr("tests.benchmarks.first_hour.__main__.LIMIT_S", 0.01)
    out = tmp_path / "found.json"
    assert main(["--pretend", "--folder", str(tmp_path), "--out", str(out), "--only=masks", "--only=swaps"]) == 1
    assert [one["failed"] for one in json.loads(out.read_text()).values()] == ["more than 0.01 s"] * 2
    assert capsys.readouterr().out.count("FAILED") == 2


@pytest.mark.slow
def test_every_measurement_runs_on_a_pretended_gpu(tmp_path: Path) -> None:
    found = measured(tmp_path)
    assert set(found) == set(MEASUREMENTS)
    assert found["out of memory"]["figures"]["is_recognised"]
    assert found["out of memory"]["figures"]["bytes_left"] == 0
    assert found["two actors"]["figures"]["n_differ"] == 0
    assert all(one.get("not_finite", 0) == 0 for one in found["padded rows"]["figures"]["pairs"])
