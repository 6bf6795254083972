"""Logs of every_eval_ever follow its schema, and their numbers are read back bit by bit."""

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.errors import BadInputError
from mlprune.standards.every_eval_ever import (
    EvaluatedMetric,
    EvaluatedModel,
    SamplesFile,
    Submission,
    evaluation_log,
    folder_of,
    log_uuid,
)
from tests.mlprune.standards.eee_schema import AGGREGATE, UUID4

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
