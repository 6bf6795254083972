"""Evidence from the records of comparisons."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlprune.errors import StoreError
from mlprune.steps.job import make_identity
from mlprune.steps.questions.criterion import Criterion
from mlprune.steps.questions.evidence import Evidence, aligned, read_evidence
from mlprune.store.records import Record
from mlprune.store.store import Store

SCHEMA = {
    "metric": "string",
    "group_kind": "string",
    "group_name": "string",
    "cluster": "string",
    "contribution": "double",
    "size": "double",
}
ENGLISH = Criterion("accuracy", "language", "en")
OTHERS = Criterion("accuracy", "outside_english")


def written(store: Store, **row: Any) -> Record:
    """A comparison with one language and one group, and the contributions of two clusters to each."""
    values = {"metric": "accuracy", "difference": 0.25, "standard_error": None, "n_clusters": 2, **row}
    identity = make_identity("comparisons")
    columns = {
        "metric": ["accuracy"] * 4,
        "group_kind": ["outside_english", "language", "outside_english", "language"],
        "group_name": ["", "en", "", "en"],
        "cluster": ["a", "a", "b", "b"],
        "contribution": [0.5, 0.1, -0.25, 0.2],
        "size": [0.5, 0.4, 0.5, 0.6],
    }
    artefact = store.write_table(f"contributions/{identity.id}.parquet", columns, SCHEMA)
    rows = {
        "comparison_results": [{**values, "language": "en", "test": "tango", "n": 4, "n_gained": 2, "n_lost": 1}],
        "aggregate_results": [{**values, "group_kind": "outside_english", "group_name": "", "test": "sign_flip"}],
    }
    record = identity.record(artefacts=(artefact,), rows=rows)
    store.write_record(record)
    return record


def test_a_language_and_a_group_have_their_own_rows_and_clusters(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    record = written(store)
    english, others = (read_evidence(store, record, criterion) for criterion in (ENGLISH, OTHERS))
    assert english.counts == (2, 1, 4)
    assert others.counts is None
    assert (english.clusters, others.clusters) == (("a", "b"), ("a", "b"))
    assert english.contributions.tolist() == [0.1, 0.2]
    assert others.contributions.tolist() == [0.5, -0.25]
    assert others.standard_error == float("inf")


def test_a_comparison_without_the_group_is_named(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    record = written(store)
    with pytest.raises(StoreError, match="worst"):
        read_evidence(store, record, Criterion("accuracy", "worst"))


@pytest.mark.parametrize(("ends", "error"), [((-0.1, 0.2), 0.2 / 1.645), ((None, 0.2), math.inf)])
def test_the_worst_language_is_known_by_its_interval_alone(ends: tuple[float | None, float], error: float) -> None:
    row = {"test": "minima", "difference": 0.0, "ci_low": ends[0], "ci_high": ends[1], "standard_error": 0.01}
    assert Evidence(row, (), np.zeros(0), np.zeros(0)).standard_error == pytest.approx(error)


def test_clusters_of_several_comparisons_are_aligned_by_name() -> None:
    first = Evidence({}, ("a", "b"), np.array([1.0, 2.0]), np.array([2.0, 2.0]))
    second = Evidence({}, ("c", "a"), np.array([3.0, 4.0]), np.array([1.0, 3.0]))
    contributions, sizes = aligned([first, second])
    assert contributions.tolist() == [[0.25, 1.0], [0.5, 0.0], [0.0, 0.75]]
    assert sizes.tolist() == [[0.5, 0.75], [0.5, 0.0], [0.0, 0.25]]
