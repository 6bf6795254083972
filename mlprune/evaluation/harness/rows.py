"""Rows of documents and requests of lm-evaluation-harness, with plain values."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from mlprune.json_values import JsonValue

DOCUMENTS_SCHEMA = {
    "doc_id": "int64",
    "filter": "string",
    "target": "string",
    "document": "string",
    "metrics": "string",
}
"""Columns of a file with documents; document and metrics are JSON."""


def document_row(sample: Mapping[str, Any]) -> dict[str, JsonValue]:
    """Row of one document after one filter, with its metrics."""
    return {
        "doc_id": int(sample["doc_id"]),
        "filter": str(sample["filter"]),
        "target": text_or_json(sample["target"]),
        "document": text_or_json(plain_value(sample["doc"])),
        "metrics": text_or_json(plain_value({name: sample[name] for name in sample["metrics"]})),
    }


def request_row(request: Any) -> dict[str, JsonValue]:
    """Row of one request with its first answer: a number and a flag, a number, or a text."""
    answer = request.resps[0]
    is_pair, is_text = isinstance(answer, tuple), isinstance(answer, str)
    return {
        "doc_id": int(request.doc_id),
        "request_index": int(request.idx),
        "kind": str(request.request_type),
        "context": str(request.args[0]),
        "continuation": text_or_json(plain_value(request.args[1])) if len(request.args) > 1 else None,
        "log_likelihood": None if is_text else float(answer[0] if is_pair else answer),
        "is_greedy": bool(answer[1]) if is_pair else None,
        "output": answer if is_text else None,
    }


def text_or_json(value: object) -> str:
    """Return a text unchanged, and any other value as JSON."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)


def plain_value(value: object) -> Any:
    """Convert a value to JSON types; values without a JSON type become text."""
    return json.loads(json.dumps(value, default=_unknown, sort_keys=True), parse_constant=str)


def _unknown(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray | set | frozenset):
        return sorted(value) if isinstance(value, set | frozenset) else value.tolist()
    return getattr(value, "__name__", None) or str(value)
