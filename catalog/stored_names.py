"""Find variants and demonstration sets by label, name in a recipe, id, or a unique beginning of one of these.

Also the commits of the data sets that recipes name.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple, TypeAlias

from catalog.sql_files import statement
from catalog.store import Catalog
from catalog.store.database_file import FILE_NAME
from mlprune.errors import StoreError, unknown
from mlprune.store.store import Store

Kind: TypeAlias = Literal["variant", "demonstration_set"]
MAX_LISTED = 10
"""Names that an error lists."""
MIN_BEGINNING = 4
"""Fewest characters that stand for a longer name."""
LISTINGS = {
    "variant": 'mlprune query "SELECT label, variant_id FROM described_variants", or store.variants() in Python',
    "demonstration_set": 'mlprune query "SELECT label FROM internal.described_sets", or store.sets() in Python',
}
"""Kind -> how to list the names."""


class StoredName(NamedTuple):
    """A name of a variant or set: labels first, then names in recipes, `recipe/name`, and ids."""

    name: str
    id: str
    is_former: bool = False
    """Whether it is a label that the variant has in a catalog with other base models."""


Lookup: TypeAlias = Callable[[str], Sequence[StoredName]]
"""Returns the names that begin with a text."""


def find_variants(store: Store, names: Sequence[str]) -> list[str]:
    """Return the ids of variants of a store, each once and in order; see `found_ids`. Updates an existing catalog."""
    known = {record_id for _, record_id in store.record_names("variants")}
    if known.issuperset(names):
        return list(dict.fromkeys(names))
    with _catalog_of(store) as catalog:
        catalog.fold()
        return _distinct(one for name in names for one in found_ids("variant", name, lookup_in(catalog, "variant")))


def find_variant(store: Store, name: str) -> str:
    """Return the id of the one variant of a store with a name; see `found_id`. Updates an existing catalog."""
    if name in {record_id for _, record_id in store.record_names("variants")}:
        return name
    with _catalog_of(store) as catalog:
        catalog.fold()
        return found_id("variant", name, lookup_in(catalog, "variant"))


def find_sets(store: Store, names: Sequence[str]) -> dict[str, str]:
    """Return id -> label of demonstration sets of a store, in order; see `found_ids`. Updates an existing catalog."""
    with _catalog_of(store) as catalog:
        catalog.fold()
        lookup = lookup_in(catalog, "demonstration_set")
        return _labels(_distinct(one for name in names for one in found_ids("demonstration_set", name, lookup)), lookup)


def _catalog_of(store: Store) -> Catalog:
    """Return the catalog of a store; one in memory if it has no catalog file, so that a lookup makes none."""
    return Catalog.open(store) if store.file_info(FILE_NAME) is not None else Catalog.in_memory(store)


def lookup_in(catalog: Catalog, kind: Kind) -> Lookup:
    """Return the lookup of names in a catalog."""
    sql = statement("api", "named_ids")
    return lambda beginning: [
        StoredName(str(row["name"]), str(row["id"]), is_former=bool(row["is_former"]))
        for row in catalog.query(sql, {"kind": kind, "beginning": beginning})
    ]


def found_ids(kind: Kind, name: str, lookup: Lookup) -> list[str]:
    """Return the ids with a name, each once; a recipe may give a name to several variants.

    If nothing has exactly this name, it may be a label that one variant has in a catalog with other base models, or the
    beginning of a name.

    Raises:
        StoreError: nothing is named so, recipes use the name for different things, several variants had the label, or
            several names begin so.
    """
    stored = lookup(name)
    ids = _distinct(one.id for one in stored if one.name == name and not one.is_former)
    if len(ids) > 1:
        _require_one_meaning(kind, name, lookup)
    former = _distinct(one.id for one in stored if one.name == name and one.is_former)
    if not ids and len(former) > 1:
        expected = _one_of(sorted(_labels(former, lookup).values()))
        raise StoreError(f"several {words_of(kind)}s have this label, each of its model", got=name, expected=expected)
    if ids or former:
        return ids or former
    if len(name) < MIN_BEGINNING or not stored:
        known = _distinct(one.name for one in lookup(""))
        raise unknown(words_of(kind), name, known, error=StoreError, n_nearest=3, listing=LISTINGS[kind])
    ids = _distinct(one.id for one in stored)
    labels = _labels(ids, lookup) if any(one.is_former for one in stored) else {}
    names = _distinct(labels[one.id] if one.is_former else one.name for one in stored)
    if len(ids) == 1 or len(names) == 1:
        return ids
    raise StoreError(f"several names of {words_of(kind)}s begin with this", got=name, expected=_one_of(names))


def found_id(kind: Kind, name: str, lookup: Lookup) -> str:
    """Return the id of the one variant or set with a name.

    Raises:
        StoreError: there is none, or there are several; the error lists them. See also `found_ids`.
    """
    ids = found_ids(kind, name, lookup)
    if len(ids) > 1:
        expected = _one_of([f"{label} ({one})" for one, label in _labels(ids, lookup).items()])
        raise StoreError(f"several {words_of(kind)}s have this name", got=name, expected=expected)
    return ids[0]


def data_set_commits(catalog: Catalog) -> dict[str, str]:
    """Return repository of a data set that recipes of this store read from a hub -> its commit.

    Data sets of which recipes read several commits are left out: the catalog does not say which one an evaluation read.
    """
    found: dict[str, set[str]] = {}
    for row in catalog.query(statement("api", "data_sets")):
        found.setdefault(str(row["name"]).partition("@")[0], set()).add(str(row["id"]))
    return {name: commit for name, (commit, *more) in ((name, sorted(ids)) for name, ids in found.items()) if not more}


def _labels(ids: Sequence[str], lookup: Lookup) -> dict[str, str]:
    """Return id -> the first of its names: its label."""
    first = {stored.id: stored.name for stored in reversed(lookup(""))}
    return {one: first[one] for one in ids}


def words_of(kind: Kind) -> str:
    """Return the name of a kind in messages, in the singular."""
    return kind.replace("_", " ")


def _require_one_meaning(kind: Kind, name: str, lookup: Lookup) -> None:
    """Check that all recipes that use a name use it for the same things.

    Raises:
        StoreError: they do not.
    """
    meanings: dict[str, set[str]] = {}
    for stored in lookup(""):
        if stored.name.partition("/")[2] == name:
            meanings.setdefault(stored.name, set()).add(stored.id)
    if len(set(map(frozenset, meanings.values()))) > 1:
        message = f"recipes use this name for different {words_of(kind)}s"
        raise StoreError(message, got=name, expected=_one_of(sorted(meanings)))


def _one_of(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    texts = [f'"{name}"' if "," in name else name for name in names[:MAX_LISTED]]
    return f"one of {', '.join(texts)}{more}"


def _distinct(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))
