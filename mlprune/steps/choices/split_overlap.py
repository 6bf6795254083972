"""Overlap of two splits: items with equal texts, and clusters that occur in both."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlprune.steps.evaluate.evaluation import EvaluationSpec
from mlprune.steps.items.identity import items_identity
from mlprune.steps.job import RecordKey
from mlprune.store.store import Store


@dataclass(frozen=True)
class SplitItems:
    """Texts and clusters of the items of one language and split."""

    texts: Mapping[str, tuple[str, ...]]
    """Id of an item -> its texts."""
    clusters: Mapping[str, str]
    """Id of an item -> its cluster."""

    @property
    def named_clusters(self) -> frozenset[str]:
        """Clusters with a name of their own. The id of an item, which may be its row number, says nothing elsewhere."""
        return frozenset(self.clusters.values()) - frozenset(self.clusters)

    def shared_with(self, other: "SplitItems") -> list[str]:
        """Return the ids of the items whose texts are those of an item of another split."""
        known = frozenset(other.texts.values())
        return [example_id for example_id, texts in self.texts.items() if texts in known]


@dataclass(frozen=True)
class Overlap:
    """What a test split shares with dev."""

    n_shared_items: int
    """Items of test whose texts are those of an item of dev in the same language."""
    shared_clusters: float
    """Share of the clusters of test with a name that occurs in dev, or with an item that does."""


def items_key(evaluation: EvaluationSpec) -> RecordKey:
    """Return kind and id of the record with the items of an evaluation."""
    return items_identity(evaluation.task, evaluation.identity.contents).key


def read_items(store: Store, evaluation: EvaluationSpec) -> SplitItems:
    """Read the items of an evaluation."""
    columns: Mapping[str, Sequence[Any]] = store.read_table(store.require(*items_key(evaluation)).artefacts[0])
    texts: dict[str, list[str]] = defaultdict(list)
    for example_id, text in zip(
        columns["example_id"], columns["source" if "source" in columns else "text"], strict=True
    ):
        texts[example_id].append(text)
    clusters = dict(zip(columns["example_id"], columns["cluster"], strict=True))
    return SplitItems({example_id: tuple(of_item) for example_id, of_item in texts.items()}, clusters)


def overlap_of(dev: Mapping[str, SplitItems], test: Mapping[str, SplitItems]) -> Overlap:
    """Compare two splits in several languages; items and clusters of equal name are the same in all languages.

    Args:
        dev: language -> items.
        test: language -> items.
    """
    named = frozenset().union(*(items.named_clusters for items in dev.values()))
    shared_items: dict[str, None] = {}
    clusters: dict[str, bool] = {}
    for language, items in test.items():
        in_dev = set(items.shared_with(dev[language])) if language in dev else set()
        shared_items |= dict.fromkeys(in_dev)
        by_name = named & items.named_clusters
        for example_id, cluster in items.clusters.items():
            clusters[cluster] = clusters.get(cluster, False) or cluster in by_name or example_id in in_dev
    return Overlap(len(shared_items), sum(clusters.values()) / len(clusters))
