"""Clusters and categories of items: which items depend on each other, and of what kind an item is.

Both are named by codes, numbers or ids that are equal in all languages, so that an item is in the same cluster in every
language. They determine statistics and never what the model computes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol, TypeVar

from mlprune.errors import TaskFileError
from mlprune.evaluation.tasks.items import ChoiceItem, Row, TranslationItem
from mlprune.hashing import digest

CLUSTER, CATEGORY = "cluster", "category"
"""Keys of a row that state its cluster and its category."""

AnyItem = TypeVar("AnyItem", ChoiceItem, TranslationItem, ChoiceItem | TranslationItem)


class ItemGroup(NamedTuple):
    """The cluster and the category of an item; an empty text for none."""

    cluster: str = ""
    category: str = ""


RowGroups = Callable[[Sequence[Row]], Sequence[ItemGroup]]
"""Derives the groups of all rows of a file, in their order."""


class Grouped(Protocol):
    """A value with an id and a cluster."""

    @property
    def example_id(self) -> str:
        """The id of its example."""

    @property
    def cluster(self) -> str:
        """Its cluster; empty for its own."""


def no_groups(rows: Sequence[Row]) -> Sequence[ItemGroup]:
    """Return no cluster and no category for each row."""
    return [ItemGroup()] * len(rows)


def groups_of(
    rows: Sequence[Row], derive: RowGroups, *, cluster_key: str = CLUSTER, category_key: str = CATEGORY
) -> list[ItemGroup]:
    """Return the groups of rows: what they state under two keys, else what a task derives from them.

    Raises:
        TaskFileError: a row states something that is neither a text nor an integer, or lacks a key that was chosen.
    """
    for key, usual in ((cluster_key, CLUSTER), (category_key, CATEGORY)):
        if key != usual:
            _check_key(rows, key)
    stated = [ItemGroup(stated_name(row, cluster_key), stated_name(row, category_key)) for row in rows]
    groups = zip(stated, derive(rows), strict=True)
    return [ItemGroup(own.cluster or other.cluster, own.category or other.category) for own, other in groups]


def _check_key(rows: Sequence[Row], key: str) -> None:
    for row in rows:
        if key not in row:
            raise TaskFileError("a row lacks a key", example=row.get("id"), expected=key, got=sorted(row))


def stated_name(row: Row, key: str) -> str:
    """Return the name that a row states under a key, without white space around it; empty if it states none.

    Raises:
        TaskFileError: it is neither a text nor an integer.
    """
    value = row.get(key)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | str):
        expected = "a text or an integer"
        raise TaskFileError(f"wrong {key}", example=row.get("id"), key=key, expected=expected, got=value)
    return str(value).strip()


def runs(rows: Sequence[Row], key: Callable[[Row], object]) -> list[str]:
    """Return for each row the id of the first of the adjacent rows around it that have an equal key.

    The texts of languages differ, but not where a text is repeated: the names are those of all languages.
    """
    names: list[str] = []
    for number, row in enumerate(rows):
        is_repeated = number > 0 and key(row) == key(rows[number - 1])
        names.append(names[-1] if is_repeated else str(row["id"]))
    return names


def with_group(item: AnyItem, group: ItemGroup) -> AnyItem:
    """Return an item with its cluster and category."""
    return replace(item, cluster=group.cluster, category=group.category) if any(group) else item


def clusters_of(items: Sequence[Grouped]) -> tuple[str, ...]:
    """Return the cluster of each item: its example's id if it is its own cluster."""
    return tuple(item.cluster or item.example_id for item in items)


def groups_sha256(groups: Mapping[str, ItemGroup]) -> str:
    """Return the hash of the groups of examples; empty if no example has a cluster or a category.

    Args:
        groups: example id -> its group, in the order of the file.
    """
    if not any(map(any, groups.values())):
        return ""
    return digest([[example_id, *group] for example_id, group in groups.items()])
