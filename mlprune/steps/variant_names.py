"""Find variants of a store by their ids, by the names that recipes give them, or by the beginning of one of these."""

from collections.abc import Mapping, Sequence, Set

from mlprune.errors import StoreError, unknown
from mlprune.json_values import as_str
from mlprune.store.store import Store

MIN_PREFIX = 4
"""Minimum length of a beginning that stands for an id."""
MAX_LISTED = 10
"""Maximum number of candidates that an error lists."""


def find_variants(store: Store, names: Sequence[str]) -> list[str]:
    """Return the ids of variants, given by id or by a name in a recipe of this store, each once and in order.

    A name that several variants share refers to all of them. `recipe/name` is a name in one recipe. Otherwise, the
    beginning of exactly one id or name stands for it.

    Raises:
        StoreError: there is no such variant, recipes use the name for different variants, or several ids or names
            begin so.
    """
    known = {record_id for _, record_id in store.record_names("variants")}
    by_recipe = {} if known.issuperset(names) else _named_variants(store)
    ids = [[name] if name in known else _ids_of(by_recipe, name, known=known, store_uri=store.uri) for name in names]
    return list(dict.fromkeys(variant_id for of_name in ids for variant_id in of_name))


def find_variant(store: Store, name: str) -> str:
    """Return the id of the one variant with an id or a name; see `find_variants`.

    Raises:
        StoreError: there is no such variant, or the name refers to several.
    """
    variant_ids = find_variants(store, [name])
    if len(variant_ids) > 1:
        expected = f"one of the ids {', '.join(variant_ids)}"
        raise StoreError("several variants have this name", got=name, expected=expected)
    return variant_ids[0]


def _named_variants(store: Store) -> dict[str, dict[str, list[str]]]:
    """Recipe -> name -> ids of variants."""
    by_recipe: dict[str, dict[str, list[str]]] = {}
    for record in store.records("recipes"):
        for row in record.rows.get("names", ()):
            if row["kind"] == "variant":
                ids = by_recipe.setdefault(as_str(row["recipe"]), {}).setdefault(as_str(row["name"]), [])
                ids += [as_str(row["id"])] if row["id"] not in ids else []
    return by_recipe


def _ids_of(
    by_recipe: Mapping[str, Mapping[str, list[str]]], name: str, *, known: Set[str], store_uri: str
) -> list[str]:
    """Return the ids of the variants of one name.

    Args:
        known: ids of all variants, for the message.
    Raises:
        StoreError: see `find_variants`.
    """
    recipe, _, name_in_recipe = name.partition("/")
    if name_in_recipe in by_recipe.get(recipe, {}):
        return by_recipe[recipe][name_in_recipe]
    candidates = {recipe: names[name] for recipe, names in by_recipe.items() if name in names}
    if not candidates and (full_name := _completed(by_recipe, name, known=known)) is not None:
        return [full_name] if full_name in known else _ids_of(by_recipe, full_name, known=known, store_uri=store_uri)
    if not candidates:
        known_names = sorted({known_name for names in by_recipe.values() for known_name in names})
        raise unknown("variant", name, [*known_names, *sorted(known)], error=StoreError, n_nearest=3, store=store_uri)
    if len({tuple(sorted(ids)) for ids in candidates.values()}) > 1:
        expected = [f"{recipe}/{name}" for recipe in sorted(candidates)]
        raise StoreError("recipes use this name for different variants", got=name, expected=expected)
    return next(iter(candidates.values()))


def _completed(by_recipe: Mapping[str, Mapping[str, list[str]]], beginning: str, *, known: Set[str]) -> str | None:
    """Return the only id, name or `recipe/name` that begins so; None if there is none.

    Raises:
        StoreError: several begin so.
    """
    recipe, _, in_recipe = beginning.partition("/")
    names = {name for names in by_recipe.values() for name in names if beginning and name.startswith(beginning)}
    names |= {f"{recipe}/{name}" for name in by_recipe.get(recipe, ()) if in_recipe and name.startswith(in_recipe)}
    ids = {known_id for known_id in known if len(beginning) >= MIN_PREFIX and known_id.startswith(beginning)}
    candidates = [*sorted(names), *sorted(ids)]
    if len(candidates) > 1:
        more = f" and {len(candidates) - MAX_LISTED} more" if len(candidates) > MAX_LISTED else ""
        expected = f"one of {', '.join(candidates[:MAX_LISTED])}{more}"
        raise StoreError("several variant ids or names begin with this", got=beginning, expected=expected)
    return candidates[0] if candidates else None
