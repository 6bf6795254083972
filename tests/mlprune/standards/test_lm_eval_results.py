"""Results and samples of lm-evaluation-harness, laid out as its version 0.4.13 writes them."""

import json
from pathlib import Path
from typing import Any

import pytest

from mlprune.errors import BadInputError
from mlprune.numeric.statistics.proportions import wilson_interval
from mlprune.standards.lm_eval_results import read_results, read_samples, samples_file
from tests.lm_eval_output import ACCURACIES, RESULTS, write_output


def test_tasks_have_their_numbers_and_groups_are_left_out(tmp_path: Path) -> None:
    tasks = {task.name: task for task in read_results(write_output(tmp_path))}
    assert set(tasks) == {"xnli_fr", "wikitext"}
    xnli = tasks["xnli_fr"]
    assert [(one.key, one.value, one.stderr, one.higher_is_better) for one in xnli.metrics] == [
        ("acc,none", 0.625, 0.18, True),
        ("acc_norm,none", 0.5, None, True),
    ]
    assert (xnli.model, xnli.version, xnli.n_shots, xnli.n_documents) == ("exported/", "1.0", 2, 8)
    assert (xnli.harness_version, xnli.limit) == ("0.4.13", 8.0)
    assert xnli.evaluated_at == "2026-11-26T18:00:00+00:00"
    assert tasks["wikitext"].metrics[0].higher_is_better is False


def test_the_content_is_that_of_the_results_and_not_of_the_file(tmp_path: Path) -> None:
    first = read_results(write_output(tmp_path / "first"))
    copy = tmp_path / "copy.json"
    copy.write_text(json.dumps(RESULTS, sort_keys=True))
    assert [task.content for task in read_results(copy)] == [
        task.content for task in sorted(first, key=lambda one: one.name)
    ]
    changed = json.loads(json.dumps(RESULTS))
    changed["results"]["xnli_fr"]["acc,none"] = 0.75
    copy.write_text(json.dumps(changed))
    contents = {task.name: task.content for task in read_results(copy)}
    assert contents["xnli_fr"] != next(task.content for task in first if task.name == "xnli_fr")
    assert contents["wikitext"] == next(task.content for task in first if task.name == "wikitext")


def test_means_get_wilson_intervals_from_the_samples(tmp_path: Path) -> None:
    path = write_output(tmp_path)
    (task,) = [task for task in read_results(path) if task.name == "xnli_fr"]
    found = samples_file(path, "xnli_fr")
    assert found is not None
    samples = read_samples(found)
    assert samples.n_documents == len(ACCURACIES) == 8
    value = samples.value(task.metrics[0])
    assert value is not None
    expected = wilson_interval(5.0, 8.0)
    assert value.interval is not None
    assert (value.n, value.interval.low, value.interval.high) == (8, expected.low, expected.high)
    assert samples.value(task.metrics[1]) is None, "acc_norm of the samples has another mean than was reported"


def test_results_without_samples_and_of_other_times_have_none(tmp_path: Path) -> None:
    path = write_output(tmp_path)
    assert samples_file(path, "wikitext") is None
    assert samples_file(path.rename(tmp_path / "results_2026-11-26T19-00-00.000000.json"), "xnli_fr") is None
    assert samples_file(tmp_path / "renamed.json", "xnli_fr") is None


def test_results_of_version_0_3_have_no_filters(tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    old = {"results": {"copa": {"acc": 0.7, "acc_stderr": 0.05}}, "versions": {"copa": 0}, "config": {"model": "gpt2"}}
    path.write_text(json.dumps(old))
    (task,) = read_results(path)
    (metric,) = task.metrics
    assert (metric.key, metric.value, metric.stderr, metric.higher_is_better) == ("acc,none", 0.7, 0.05, None)
    assert (task.model, task.version, task.n_documents, task.evaluated_at) == ("gpt2", "0", None, None)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"results": []}',
        '{"results": {}}',
        '{"results": {"x": {"alias": "x"}}}',
        '{"results": {"x": 3}}',
        "[" * 100_000,
    ],
    ids=["empty", "cut", "list", "no mapping", "no task", "no number", "task is no mapping", "nested"],
)
def test_other_files_are_refused_by_name(tmp_path: Path, content: str) -> None:
    path = tmp_path / "results_x.json"
    path.write_text(content)
    with pytest.raises(BadInputError) as refused:
        read_results(path)
    assert refused.value.context["path"] == str(path)


@pytest.mark.parametrize("line", ["{", "3", '{"doc": 1}', '{"doc_id": "a"}'])
def test_a_line_that_is_no_sample_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "samples.jsonl"
    good: dict[str, Any] = {"doc_id": 0, "metrics": ["acc"], "acc": 1.0}
    path.write_text(json.dumps(good) + "\n" + line + "\n")
    with pytest.raises(BadInputError) as refused:
        read_samples(path)
    assert refused.value.context["line"] == 2
