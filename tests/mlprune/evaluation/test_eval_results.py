"""Entries in the layout of the hub are those that its library reads, for benchmarks that were read from the hub."""

from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import parse_eval_result_entries

from mlprune.evaluation.eval_results import FOLDER, write_eval_results

COMMITS = {"facebook/xnli": "a" * 40, "facebook/belebele": "b" * 40}


def row(task: str, language: str, **more: object) -> dict[str, Any]:
    keys = {"task": task, "language": language, "split": "test", "metric": "accuracy", "scoring_rule": "mean"}
    value = {"value": 0.4412345678901234, "ci_low": 0.41, "ci_high": 0.47, "chance": 1 / 3, "n": 5010}
    prompts = {"prompt_language": "en", "example_limit": None, "protocol": None}
    return {**keys, **value, **prompts, "evaluated_at": "2026-11-26T18:00:00", **more}


def test_the_library_of_the_hub_reads_the_entries(tmp_path: Path) -> None:
    rows = [row("xnli", "fr"), row("xnli", "sw", ci_low=None, ci_high=None), row("belebele", "fr", chance=0.25)]
    assert write_eval_results(tmp_path, rows, COMMITS) == [1, 2]
    files = {path.name: path.read_text("utf-8") for path in (tmp_path / FOLDER).iterdir()}
    assert sorted(files) == ["mlprune-belebele.yaml", "mlprune-xnli.yaml"]
    xnli = parse_eval_result_entries(yaml.safe_load(files["mlprune-xnli.yaml"]))
    assert [(one.dataset_id, one.task_id, one.dataset_revision) for one in xnli] == [
        ("facebook/xnli", "fr", "a" * 40),
        ("facebook/xnli", "sw", "a" * 40),
    ]
    assert xnli[0].value == rows[0]["value"]
    assert xnli[0].date == "2026-11-26T18:00:00"
    notes = str(xnli[0].notes)
    assert all(part in notes for part in ("n 5010", "0.4100 to 0.4700", "chance 0.3333", "scoring rule mean"))
    assert "interval" not in str(xnli[1].notes)
    (belebele,) = parse_eval_result_entries(yaml.safe_load(files["mlprune-belebele.yaml"]))
    assert belebele.task_id == "fra_Latn"


def test_other_values_are_not_those_of_a_benchmark(tmp_path: Path) -> None:
    changes: list[dict[str, object]] = [{"task": task} for task in ("facts", "xcopa", "of a recipe")]
    changes += [{"split": "dev"}, {"metric": "f1_macro"}, {"example_limit": 100}, {"protocol": "native prompts"}]
    for change in changes:
        assert write_eval_results(tmp_path, [{**row("xnli", "fr"), **change}], COMMITS) == [], change
    assert not list(tmp_path.iterdir())
