"""Evidence: what the record of one comparison says about the languages of a question."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mlprune.errors import StoreError
from mlprune.evaluation.inference.estimates import detectable
from mlprune.json_values import JsonValue, as_float, as_int, as_str
from mlprune.numeric.statistics.clusters import Array, shared_cluster_codes
from mlprune.numeric.statistics.interval import Interval
from mlprune.steps.questions.criterion import Criterion
from mlprune.store.records import Record
from mlprune.store.store import Store

CONTRIBUTIONS = "contributions/"
"""Folder of the artefacts with the contribution of every cluster to the difference of every group."""
TANGO = "tango"
"""Test of a binary metric over independent items."""
SIGN_FLIP = "sign_flip"
"""Test of sums over clusters."""
MINIMA = "minima"
"""Test of the worst language. Its contributions are linearised and therefore not read."""
ONE_SIDED = 1.645
"""Normal deviate of a one-sided 5 % test."""


class Counts(NamedTuple):
    """Items of which exactly one of two models is right, and all items."""

    n_gained: float
    n_lost: float
    n: float


@dataclass(frozen=True)
class Evidence:
    """A paired difference, variant minus baseline, with the data it is computed from."""

    row: Mapping[str, JsonValue]
    """Of `comparison_results` for a language, of `aggregate_results` for another group."""
    clusters: tuple[str, ...]
    """Names of the clusters; empty without contributions, and for the worst language."""
    contributions: Array
    """[C] contributions of the clusters; their sum divided by that of the sizes is the difference."""
    sizes: Array
    """[C]."""

    @property
    def counts(self) -> Counts | None:
        """Counts of a binary metric over independent items; None for other differences."""
        if self.row["test"] != TANGO:
            return None
        return Counts(as_float(self.row["n_gained"]), as_float(self.row["n_lost"]), as_float(self.row["n"]))

    @property
    def difference(self) -> float:
        """The difference on the scale of the record."""
        return as_float(self.row["difference"])

    @property
    def is_log(self) -> bool:
        """Whether the difference is a logarithm."""
        return self.row["scale"] == "log_ratio"

    def interval(self, name: str) -> Interval:
        """Return the interval whose ends are the columns `name`_low and `name`_high; infinite without them."""
        low, high = self.row[f"{name}_low"], self.row[f"{name}_high"]
        return Interval(-math.inf if low is None else as_float(low), math.inf if high is None else as_float(high))

    @property
    def standard_error(self) -> float:
        """Its standard error; infinite for a single cluster.

        For the worst language it is the longer side of the 95 % interval, divided by 1.645: an estimate with this error
        claims less than the test of the minima, which needs more than one normal deviate.
        """
        if self.row["test"] == MINIMA:
            return self.interval("ci").reach_from(self.difference) / ONE_SIDED
        error = self.row["standard_error"]
        return math.inf if error is None else as_float(error)

    def detectable_difference(self, n_tests: int) -> float | None:
        """Return what a family of tests finds with a power of 80 %; None if nothing varied, or nothing is known."""
        error = None if self.row["standard_error"] is None else as_float(self.row["standard_error"])
        test = as_str(self.row["test"])
        return detectable(self.difference, self.interval("ci"), standard_error=error, test=test, n_tests=n_tests)

    @property
    def n_items(self) -> int:
        """Number of different items."""
        return as_int(self.row["n_items"] if "n_items" in self.row else self.row["n"])

    @property
    def n_clusters(self) -> int:
        """Number of clusters."""
        return as_int(self.row["n_clusters"])


def read_evidence(store: Store, record: Record, criterion: Criterion) -> Evidence:
    """Read what the record of a comparison says about a metric in a group of languages.

    Raises:
        StoreError: the record has no such row.
        DamagedArtefactError: its contributions are missing or damaged.
    """
    row = find_row(record, criterion)
    if row is None:
        message = "a comparison has no result for the group of a question"
        raise StoreError(message, comparison=record.id, metric=criterion.metric, group=criterion.group.text)
    clusters: tuple[str, ...] = ()
    values = np.zeros((2, 0))
    for artefact in record.artefacts:
        if artefact.path.startswith(CONTRIBUTIONS) and row["test"] != MINIMA:
            clusters, values = _contributions(store.read_table(artefact), criterion)
    return Evidence(row, clusters, *values)


def find_row(record: Record, criterion: Criterion) -> Mapping[str, JsonValue] | None:
    """Return the row of a comparison about a metric in a group of languages; None if there is none."""
    kind, name = criterion.group
    if kind == "language":
        rows = [row for row in record.rows.get("comparison_results", ()) if row["language"] == name]
    else:
        aggregates = record.rows.get("aggregate_results", ())
        rows = [row for row in aggregates if (row["group_kind"], row["group_name"]) == (kind, name)]
    return next((row for row in rows if row["metric"] == criterion.metric), None)


def _contributions(columns: Mapping[str, Sequence[Any]], criterion: Criterion) -> tuple[tuple[str, ...], Array]:
    """Return the clusters of a group, and [2, C] their contributions and sizes, from the columns of the artefact."""
    wanted = (criterion.metric, *criterion.group)
    places = zip(columns["metric"], columns["group_kind"], columns["group_name"], strict=True)
    indices = [index for index, place in enumerate(places) if place == wanted]
    values = np.array([columns["contribution"], columns["size"]], dtype=np.float64)
    return tuple(columns["cluster"][index] for index in indices), values[:, indices]


def aligned(evidence: Sequence[Evidence]) -> tuple[Array, Array]:
    """Return the contributions and sizes of several comparisons, each [C, V], as shares of the sum of their sizes.

    Clusters are in the order of their first occurrence; one that a comparison lacks has size 0 there.
    """
    clusters, codes = shared_cluster_codes(part.clusters for part in evidence)
    contributions, sizes = np.zeros((len(clusters), len(evidence))), np.zeros((len(clusters), len(evidence)))
    for column, (part, rows) in enumerate(zip(evidence, codes, strict=True)):
        total = part.sizes.sum()
        contributions[rows, column], sizes[rows, column] = part.contributions / total, part.sizes / total
    return contributions, sizes
