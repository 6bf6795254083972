"""`mlprune check model`: the text fits a terminal, and JSON has everything."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mlprune.capabilities.inspection.model_report import report_model
from mlprune.models.model_layers import DenseGroup
from ray_jobs.capabilities.inspection.check_model import block_numbers, describe_model, verdict
from ray_jobs.cli.application import app
from tests.forked_runs import mlprune
from tests.tiny_models import POSITIONS, WINDOW, save_tiny_model, tiny_config

MOST_LINES, LINE = 30, 80


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model"), "gemma2")


def test_the_text_begins_with_the_verdict_and_fits_a_terminal(folder: Path) -> None:
    result = CliRunner().invoke(app, ["check", "model", str(folder)])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "can be pruned: 3 blocks, 9,216 of 13,584 weights"
    assert len(lines) <= MOST_LINES
    assert max(map(len, lines)) <= LINE
    assert any("lm_head.weight" in line for line in lines)
    assert f"1 block with sliding attention ({WINDOW} tokens): 1" in lines


def test_json_has_the_verdict_and_all_that_was_found(folder: Path) -> None:
    result = CliRunner().invoke(app, ["check", "model", str(folder), "--format", "json"])
    found = json.loads(result.stdout)
    assert found["verdict"] == "can be pruned: 3 blocks, 9,216 of 13,584 weights"
    assert sum(found["weights"].values()) == found["n_weights"]
    assert [kind["name"] for kind in found["kinds"]] == ["full_attention", "sliding_attention"]


def test_the_verdict_of_a_config_says_that_there_are_no_weights_yet(tmp_path: Path) -> None:
    config = {"model_type": "llama", **tiny_config("llama", blocks=3, hidden=16, positions=POSITIONS)}
    (tmp_path / "config.json").write_text(json.dumps(config))
    report = report_model(tmp_path)
    assert verdict(report) == "can be pruned (no weights yet): 3 blocks, 6,912 of 15,488 weights"
    large = replace(report, weights={**report.weights, "prunable": 268_000_000, "embeddings": 168_000_000})
    assert verdict(large).endswith("268 of 436 million weights")


def test_what_stays_dense_is_named_and_many_names_are_shortened(folder: Path) -> None:
    report = report_model(folder)
    groups = tuple(DenseGroup(f"layer{number}.weight", (0, 2), 10, "no linear layer") for number in range(9))
    text = " ".join(describe_model(replace(report, dense=groups[:2]), width=LINE).split())
    assert "layer0.weight, layer1.weight, 20 weights in 2 blocks: no linear layer" in text
    assert "layer4.weight and 4 more, 90 weights" in describe_model(replace(report, dense=groups), width=10_000)


@pytest.mark.parametrize(
    ("blocks", "text"),
    [
        ((0,), "0"),
        ((0, 1, 2, 5, 7, 8), "0-2, 5, 7-8"),
        (tuple(range(0, 80, 2)), "0, 2, 4, 6, 8, 10, 12, 14, ..., 78"),
    ],
)
def test_block_numbers_are_ranges_and_long_lists_are_shortened(blocks: tuple[int, ...], text: str) -> None:
    assert block_numbers(blocks) == text


MEASURED = """
import sys, time
from pathlib import Path
from mlprune.capabilities.inspection.model_report import report_model
assert report_model(Path(sys.argv[1])).n_blocks == 80
lines = Path("/proc/self/status").read_text().splitlines()
print(next(line.split()[1] for line in lines if line.startswith("VmHWM")), time.process_time())
"""
"""Program that reports on a model and prints its largest resident memory [KiB] and its CPU time [s]."""


@pytest.mark.slow
def test_a_config_of_70_billion_weights_needs_less_than_1_gib_and_30_s_of_a_processor(tmp_path: Path) -> None:
    sizes = {"hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80, "vocab_size": 128256}
    heads = {"num_attention_heads": 64, "num_key_value_heads": 8}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", **sizes, **heads}))
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-c", MEASURED, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    peak_kib, cpu_s = map(float, done.stdout.split())
    assert peak_kib < 1 << 20
    assert cpu_s < 30


@pytest.mark.thorough("runs commands that start or finish runs")
@pytest.mark.parametrize("words", [("nothing-there",), (__file__,), ("{folder}", "--format", "yaml")])
def test_bad_input_is_one_line_and_exit_code_2(folder: Path, words: tuple[str, ...]) -> None:
    done = mlprune("check", "model", *(word.format(folder=folder) for word in words))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
