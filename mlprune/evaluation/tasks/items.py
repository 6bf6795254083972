"""Items of tasks: checked access to the values of a row, their clusters and categories.

Clusters and categories of items: which items depend on each other, and of what kind an item is.

Both are named by codes, numbers or ids that are equal in all languages, so that an item is in the same cluster in every
language. They determine statistics and never what the model computes.

Examples of profile `paper`: those that the published code of Kim et al. (arXiv:2409.16911) evaluates.

Its scripts shuffle the split with seed 0 and take the first 1,000. The library `datasets` shuffles with a permutation
of NumPy's default generator.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, TypeVar, cast

import numpy as np

from mlprune.errors import BlankTextError, TaskFileError
from mlprune.hashing import digest

Row = Mapping[str, object]
"""A row of a task file: key -> value as the file has it."""
SKIPPED = "skipped"
"""Only key of a row that a layout skips; its value is the reason."""
CLUSTER, CATEGORY = "cluster", "category"
"""Keys of a row that state its cluster and its category."""
MOST_OTHER_ANSWERS = 0.05
"""Share of common ids with other right answers above which the ids of two languages name different items."""
N_PUBLISHED = 1000
"""Examples of one language that the published scripts evaluate."""
PUBLISHED_SEED = 0
Item = TypeVar("Item")
AnyItem = TypeVar("AnyItem", "ChoiceItem", "TranslationItem", "ChoiceItem | TranslationItem")
RowGroups = Callable[[Sequence[Row]], Sequence["ItemGroup"]]
"""Derives the groups of all rows of a file, in their order."""


@dataclass(frozen=True)
class ChoiceItem:
    """A choice between whole texts, one of which is right."""

    example_id: str
    candidates: tuple[str, ...]
    """The labels as they are in the file, or the texts that fill a gap."""
    texts: tuple[str, ...]
    """Scored texts, one per candidate."""
    gold: int
    """Index of the right candidate."""
    starts: tuple[int, ...] = ()
    """Index of the character at which the candidate part of each text begins; empty if all begin at 0."""
    cluster: str = ""
    """Name of the items that depend on each other, equal in all languages; empty if the item is its own cluster."""
    category: str = ""
    """Kind of the item, such as its relation or genre, equal in all languages; empty if it has none. Several kinds are
    one per line: the item counts in each of them."""


@dataclass(frozen=True)
class TranslationItem:
    """A text with a generated answer: a sentence and its reference translation, or a question."""

    example_id: str
    source: str
    """The sentence; of a question the whole text before the answer."""
    reference: str
    """The translation; of a question the accepted answers, one per line."""
    cluster: str = ""
    """As in `ChoiceItem`."""
    category: str = ""
    """As in `ChoiceItem`."""


def choice_item(
    example_id: str, candidates: Sequence[str], *, context: str, parts: Sequence[str], gold: int, after: str = ""
) -> ChoiceItem:
    """Build an item whose texts share one context.

    Args:
        candidates: the labels, or the texts that fill a gap.
        context: text before every candidate.
        parts: text after the context, one per candidate.
        after: end of every text; it belongs to the candidate part, as `parts` does.
    """
    texts = tuple(f"{context}{part}{after}" for part in parts)
    return ChoiceItem(example_id, tuple(candidates), texts, gold, (len(context),) * len(texts))


def generated_item(example_id: str, prompt: str, answers: Sequence[str]) -> TranslationItem:
    """Build an item whose answer is generated.

    Args:
        prompt: text before the answer, without white space at its end.
        answers: accepted answers; white space in them becomes one space.
    Raises:
        BlankTextError: an answer is missing or blank.
    """
    lines = [" ".join(answer.split()) for answer in answers]
    if not all(lines) or not lines:
        raise BlankTextError("an empty answer", example=example_id, expected="a text", got=list(answers))
    return TranslationItem(example_id, prompt.rstrip(), "\n".join(dict.fromkeys(lines)))


def answers_of(row: Row, key: str) -> list[str]:
    """Return the accepted answers of a row, which are a text, a number or a list of them.

    Raises:
        BlankTextError: an answer is missing, or is only white space.
        TaskFileError: the value is something else.
    """
    value = row[key]
    values = value if isinstance(value, list) else [value]
    if not values:
        raise BlankTextError(f"no {key}", key=key, expected="a text, a number or a list of them", got=value)
    if any(isinstance(each, bool) or not isinstance(each, str | int | float | None) for each in values):
        raise TaskFileError(f"wrong {key}", key=key, expected="a text, a number or a list of them", got=value)
    return [text_of({key: each if isinstance(each, str | None) else str(each)}, key) for each in values]


def sentence_item(example_id: str, sentence: str) -> ChoiceItem:
    """Build an item with one text, for perplexity."""
    return ChoiceItem(example_id, (sentence,), (sentence,), 0)


def text_of(row: Row, key: str) -> str:
    """Return a text of a row, unchanged.

    Raises:
        BlankTextError: the value is missing or only white space.
        TaskFileError: the value is not a text.
    """
    value = row[key]
    if not is_text(value):
        raise _no_text(value)("an empty or missing text", key=key, expected="a text", got=value)
    return str(value)


def _no_text(value: object) -> type[TaskFileError]:
    """Return the class of the error about a value that is not a text with characters other than white space."""
    return BlankTextError if is_blank(value) else TaskFileError


def number_of(row: Row, key: str, allowed: range) -> int:
    """Return a whole number of a row.

    Raises:
        TaskFileError: the value is not one of the allowed numbers.
    """
    value = row[key]
    bounds = f"a whole number from {allowed.start} to {allowed.stop - 1}"
    if isinstance(value, str):
        raise TaskFileError(f"wrong {key}", key=key, expected=f"{bounds}, not a text", got=value)
    if isinstance(value, bool) or not isinstance(value, int) or value not in allowed:
        raise TaskFileError(f"wrong {key}", key=key, expected=bounds, got=value)
    return value


def one_based_index(row: Row, key: str, n: int) -> int:
    """Return the index of the right one of n, which the row counts from 1, as a number or as digits.

    Raises:
        TaskFileError: the value is not in 1 to n.
    """
    value = row[key]
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    return number_of({key: value}, key, range(1, n + 1)) - 1


def texts_of(row: Row, key: str) -> list[str]:
    """Return a list of texts of a row.

    Raises:
        BlankTextError: a text of the list is missing or only white space.
        TaskFileError: the value is not a list, is empty, or contains something other than texts.
    """
    value = row[key]
    wrong = [each for each in value if not is_text(each)] if isinstance(value, list) else []
    if not isinstance(value, list) or not value or wrong:
        are_blank = bool(wrong) and all(_no_text(each) is BlankTextError for each in wrong)
        error = BlankTextError if are_blank else TaskFileError
        raise error(f"wrong {key}", key=key, expected="a list of texts", got=value)
    return cast("list[str]", value)


def index_of(row: Row, key: str, candidates: Sequence[str]) -> int:
    """Return the index of the right candidate, which the row gives as an index or as a text.

    Raises:
        TaskFileError: the value is neither an index nor one of the candidates.
    """
    value = row[key]
    if not isinstance(value, str):
        return number_of(row, key, range(len(candidates)))
    if value not in candidates:
        raise TaskFileError(f"the {key} is not a candidate", key=key, expected=list(candidates), got=value)
    return list(candidates).index(value)


def is_marked_skipped(row: Row) -> bool:
    """Whether a row only says why it is skipped."""
    return row.keys() == {SKIPPED}


def split_skipped(rows: Iterable[Row]) -> tuple[list[Row], dict[str, int]]:
    """Return the rows that are not skipped, and reason -> number of the others."""
    kept: list[Row] = []
    reasons: Counter[str] = Counter()
    for row in rows:
        if is_marked_skipped(row):
            reasons[str(row[SKIPPED])] += 1
        else:
            kept.append(row)
    return kept, dict(reasons)


def is_blank(value: object) -> bool:
    """Whether a text is missing, empty or only white space."""
    return value is None or (isinstance(value, str) and not value.strip())


def is_text(value: object) -> bool:
    """Whether a value is a text with at least one character other than white space."""
    return isinstance(value, str) and bool(value.strip())


class ItemGroup(NamedTuple):
    """The cluster and the category of an item; an empty text for none."""

    cluster: str = ""
    category: str = ""


class Grouped(Protocol):
    """A value with an id and a cluster."""

    @property
    def example_id(self) -> str:
        """The id of its example."""

    @property
    def cluster(self) -> str:
        """Its cluster; empty for its own."""


def categories(*names: str) -> str:
    """Return the category of an item that belongs to several, of which some names may be empty."""
    return "\n".join(filter(None, names))


def first_categories(groups: Mapping[str, ItemGroup]) -> dict[str, ItemGroup]:
    """Return the groups of examples with the first of their categories alone."""
    return {
        example_id: group._replace(category=group.category.partition("\n")[0]) for example_id, group in groups.items()
    }


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


def published_examples(items: Sequence[Item], limit: int) -> tuple[Item, ...]:
    """Return the first `limit` items of the published order, in the order of `items`.

    Args:
        items: all items of a split, in the order of the file.
        limit: number of items to keep.
    """
    shuffled = np.random.default_rng(PUBLISHED_SEED).permutation(len(items))
    return tuple(items[index] for index in sorted(shuffled[:limit].tolist()))
