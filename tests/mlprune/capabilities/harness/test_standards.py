"""Results in the formats of lm-evaluation-harness and Every Eval Ever."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.capabilities.harness import lm_eval_results
from mlprune.capabilities.harness.every_eval_ever import (
    EvaluatedMetric,
    EvaluatedModel,
    SamplesFile,
    Submission,
    evaluation_log,
    folder_of,
    log_uuid,
)
from mlprune.capabilities.harness.lm_eval_results import read_results, read_samples, samples_file
from mlprune.errors import BadInputError
from mlprune.numeric.statistics.proportions import wilson_interval
from tests.lm_eval_output import ACCURACIES, RESULTS, write_output
from tests.mlprune.capabilities.harness.eee_schema import AGGREGATE, UUID4
from tests.refusals import refused

SUBMISSION = Submission(organisation="a lab", library_version="0.2.0", retrieved_at=1_764_000_000)
MODEL = EvaluatedModel(
    variant_id="v" * 20, label="wanda fr-en 0.5", base_model="facebook/xglm-564M", settings={"sparsity": "0.5"}
)
ACCURACY = EvaluatedMetric(
    evaluation_id="e" * 20,
    task="xnli",
    language="fr",
    split="test",
    metric="accuracy",
    value=0.1 + 0.2,
    ci_low=0.25,
    ci_high=1 / 3,
    interval="wilson",
    standard_error=0.01,
    n=5010,
    n_clusters=5010,
    chance=1 / 3,
    higher_is_better=True,
    settings={"scoring_rule": "mean"},
    evaluated_at="2026-11-26T18:00:00Z",
    dataset="facebook/xnli",
    dataset_revision="a" * 40,
)
BARE = replace(
    ACCURACY,
    metric="perplexity",
    value=23.5,
    ci_low=None,
    ci_high=None,
    interval=None,
    standard_error=None,
    n=None,
    n_clusters=None,
    chance=None,
    higher_is_better=False,
    settings={},
    evaluated_at=None,
    dataset=None,
    dataset_revision=None,
)
finite = st.floats(allow_nan=False, allow_infinity=False)


def test_a_log_follows_the_schema_with_all_values_and_with_hardly_any() -> None:
    samples = SamplesFile(sha256="0" * 64, n_rows=3)
    for metrics, of_items in (([ACCURACY, BARE], samples), ([BARE], None)):
        log = evaluation_log(MODEL, "xnli", metrics, submission=SUBMISSION, samples=of_items)
        AGGREGATE.validate(log)
        assert len(log["evaluation_results"]) == len(metrics)  # type: ignore[arg-type]


@settings(max_examples=25)
@given(finite, finite, finite, finite)
def test_every_number_is_read_back_bit_by_bit(value: float, low: float, high: float, error: float) -> None:
    metric = replace(ACCURACY, value=value, ci_low=low, ci_high=high, standard_error=error)
    read = json.loads(json.dumps(evaluation_log(MODEL, "xnli", [metric], submission=SUBMISSION), allow_nan=False))
    details = read["evaluation_results"][0]["score_details"]
    interval = details["uncertainty"]["confidence_interval"]
    assert details["score"] == value
    assert (interval["lower"], interval["upper"]) == (low, high)
    assert details["uncertainty"]["standard_error"]["value"] == error
    assert float(details["details"]["chance"]) == metric.chance


def test_the_variant_is_not_part_of_the_id_of_the_model() -> None:
    dense = replace(MODEL, variant_id="d" * 20, label="dense")
    ours, theirs = (evaluation_log(one, "xnli", [ACCURACY], submission=SUBMISSION) for one in (MODEL, dense))
    for log, name in ((ours, "facebook/xglm-564M, wanda fr-en 0.5"), (theirs, "facebook/xglm-564M")):
        info = log["model_info"]
        assert isinstance(info, dict)
        assert (info["id"], info["developer"], info["name"]) == ("facebook/xglm-564M", "facebook", name)
    assert ours["evaluation_id"] != theirs["evaluation_id"]


def test_names_of_files_follow_from_the_content_and_not_from_the_time() -> None:
    name = log_uuid(MODEL, "xnli", [ACCURACY])
    assert re.fullmatch(UUID4, name)
    assert name == log_uuid(replace(MODEL, label="renamed"), "xnli", [replace(ACCURACY, evaluated_at=None)])
    assert name != log_uuid(MODEL, "xnli", [replace(ACCURACY, value=0.3)])
    assert name != log_uuid(replace(MODEL, variant_id="w" * 20), "xnli", [ACCURACY])


@pytest.mark.parametrize(
    ("base_model", "folder"),
    [
        ("facebook/xglm-564M", "data/mlprune-xnli/facebook/xglm-564M"),
        ("a folder", "data/mlprune-xnli/unknown/a folder"),
        ('who/what: "that"?', "data/mlprune-xnli/who/what_ _that__"),
        ("..", "data/mlprune-xnli/unknown/unknown"),
    ],
)
def test_folders_are_possible_on_every_system_and_stay_where_they_are(base_model: str, folder: str) -> None:
    assert folder_of(replace(MODEL, base_model=base_model), "xnli") == folder


def test_an_unknown_relationship_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BadInputError, match="third_party"):
        replace(SUBMISSION, relationship="third party")


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
    with refused(BadInputError, path=str(path)):
        read_results(path)


@pytest.mark.parametrize("line", ["{", "3", '{"doc": 1}', '{"doc_id": "a"}'])
def test_a_line_that_is_no_sample_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "samples.jsonl"
    good: dict[str, Any] = {"doc_id": 0, "metrics": ["acc"], "acc": 1.0}
    path.write_text(json.dumps(good) + "\n" + line + "\n")
    with refused(BadInputError, line=2):
        read_samples(path)


def test_results_of_very_many_tasks_or_numbers_or_a_large_file_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_output(tmp_path)
    n_tasks, n_numbers = len(RESULTS["results"]), max(map(len, RESULTS["results"].values()))
    limits = {"MOST_TASKS": n_tasks, "MOST_METRICS": n_numbers, "MOST_RESULTS_MIB": 1}
    for name, limit in limits.items():
        monkeypatch.setattr(lm_eval_results, name, limit)
        assert read_results(path)
        with monkeypatch.context() as patch, refused(BadInputError, path=str(path)):
            patch.setattr(lm_eval_results, name, limit - 1)
            read_results(path)


def test_very_many_samples_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = samples_file(write_output(tmp_path), "xnli_fr")
    assert path is not None
    monkeypatch.setattr(lm_eval_results, "MOST_SAMPLES", len(ACCURACIES))
    assert len(read_samples(path).documents) == len(ACCURACIES)
    monkeypatch.setattr(lm_eval_results, "MOST_SAMPLES", len(ACCURACIES) - 1)
    with refused(BadInputError, path=str(path)):
        read_samples(path)
