"""File of contributions: what each cluster of items adds to the difference of each group of languages.

With it, tests over many variants (max-T) draw the same signs for the same clusters.
"""

from collections.abc import Sequence

from mlprune.evaluation.inference.aggregates import Contributions
from mlprune.store.parquet import Columns

CONTRIBUTIONS_SCHEMA = {
    "metric": "string",
    "group_kind": "string",
    "group_name": "string",
    "cluster": "string",
    "contribution": "double",
    "size": "double",
}
"""Columns of a contributions file. The groups are those of `aggregate_results` without gaps, and each language
(group_kind `language`). Clusters have the same order in all groups of a metric. The contributions of a group add up to
its difference and the sizes to 1; see `Contributions`."""


def contribution_columns(parts: Sequence[tuple[str, Contributions]]) -> Columns:
    """Return the columns of a contributions file, from (metric, contributions of one group)."""
    columns: dict[str, list[object]] = {name: [] for name in CONTRIBUTIONS_SCHEMA}
    for metric, part in parts:
        n = len(part.clusters)
        columns["metric"] += [metric] * n
        columns["group_kind"] += [part.group.kind] * n
        columns["group_name"] += [part.group.name] * n
        columns["cluster"] += part.clusters
        columns["contribution"] += part.contributions.tolist()
        columns["size"] += part.sizes.tolist()
    return columns
