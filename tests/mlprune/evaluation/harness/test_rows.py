"""Rows of documents and requests of the harness."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mlprune.evaluation.harness.rows import document_row, plain_value, request_row


def request(kind: str, arguments: tuple[Any, ...], answer: object) -> SimpleNamespace:
    return SimpleNamespace(doc_id=3, idx=1, request_type=kind, args=arguments, resps=[answer])


@pytest.mark.parametrize(
    ("answer", "expected"),
    [((-1.5, True), (-1.5, True, None)), (-2.0, (-2.0, None, None)), ("yes", (None, None, "yes"))],
)
def test_an_answer_is_a_likelihood_with_or_without_a_flag_or_a_text(
    answer: object, expected: tuple[float | None, bool | None, str | None]
) -> None:
    row = request_row(request("kind", ("Q:", " yes"), answer))
    assert (row["log_likelihood"], row["is_greedy"], row["output"]) == expected
    assert (row["doc_id"], row["request_index"], row["context"], row["continuation"]) == (3, 1, "Q:", " yes")


def test_a_request_without_a_continuation_has_none() -> None:
    assert request_row(request("loglikelihood_rolling", ("text",), -1.0))["continuation"] is None


def test_a_document_and_its_metrics_are_json_with_sorted_keys() -> None:
    sample = {"doc_id": 2, "filter": "none", "target": 1, "doc": {"b": "é", "a": np.int64(4)}, "metrics": ["acc"]}
    row = document_row({**sample, "acc": np.float64(0.5)})
    assert row == {
        "doc_id": 2,
        "filter": "none",
        "target": "1",
        "document": '{"a": 4, "b": "é"}',
        "metrics": '{"acc": 0.5}',
    }


def test_values_without_a_json_type_become_plain() -> None:
    assert plain_value({"set": {2, 1}, "array": np.arange(2), "function": len, "nan": float("nan")}) == {
        "set": [1, 2],
        "array": [0, 1],
        "function": "len",
        "nan": "NaN",
    }
