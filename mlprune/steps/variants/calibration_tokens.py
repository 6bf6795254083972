"""Proof of calibration: the real tokens by language that reached each layer and each expert when a variant was made.

The numbers follow from the records of the demonstration sets and of what was observed; no record of a variant has them.
A layer outside the experts reads every token that counts (`token_scope`); an expert those that the router sends to it,
which are counted when a set is observed. A combination and a derived variant have the tokens of their parents.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, cast

from mlprune.corpus.token_languages import (
    COLUMNS,
    Group,
    SideTokens,
    counted_by_language,
    is_in,
    side_tokens,
)
from mlprune.json_values import JsonObject, Row, as_int, as_list, as_str
from mlprune.steps.variants.scored_variant import block_identity
from mlprune.steps.variants.variant_rows import stored_masks
from mlprune.store.record_kinds import NOT_REBUILT
from mlprune.store.records import Record
from mlprune.store.store import Store
from mlprune.vocabulary import TokenScope

OF_STATISTICS = ("calibration", "contrast")
"""Roles of sets whose tokens a variant's `tokens`, `samples` and `resample` choose."""
OBSERVATIONS = ("statistics", "contrast_statistics", "expert_statistics", "contrast_expert_statistics")
"""Roles of the parents of masks that count the tokens of experts."""
_EXPERT = re.compile(r"\.(\d+)\.[^.]+$")
"""In the path of a layer of an expert: its number."""
ByLanguage = Mapping[str, int]
Expert = tuple[int, int]
"""Block, and number of the expert in it."""


class Layer(NamedTuple):
    """A layer that can be pruned."""

    block: int
    name: str
    n_inputs: int

    @property
    def expert(self) -> Expert | None:
        """The expert that has it; None for other layers."""
        number = _EXPERT.search(self.name)
        return (self.block, int(number[1])) if number else None


@dataclass(frozen=True)
class TokensRead:
    """Tokens of the sets of one role that a variant read."""

    variant_id: str
    """The variant that read them: the one that is asked for, or one that it was made from."""
    role: str
    tokens: ByLanguage
    """Tokens that reached each layer outside the experts."""
    experts: Mapping[Expert, ByLanguage] | None
    """Tokens that reached each expert; None if they are unknown, empty for a model without experts."""

    def at(self, layer: Layer) -> ByLanguage | None:
        """Return the tokens that reached a layer; None if they are unknown."""
        if layer.expert is None:
            return self.tokens
        return None if self.experts is None else self.experts[layer.expert]

    def fewest(self, language: str | None = None) -> tuple[Expert, int] | None:
        """Return the expert with the fewest tokens of a language, or of all, and their number; None without any."""
        counts = {
            expert: sum(tokens.values()) if language is None else tokens.get(language, 0)
            for expert, tokens in (self.experts or {}).items()
        }
        expert = min(counts, key=lambda one: (counts[one], one), default=None)
        return None if expert is None else (expert, counts[expert])


@dataclass(frozen=True)
class CalibrationTokens:
    """All tokens that a variant was made with."""

    is_known: bool
    """False if some masks were made elsewhere."""
    reads: tuple[TokensRead, ...]
    """Empty if no method read text."""


def role_name(role: str) -> str:
    """Return the role of a set as the catalog names it, from that of a planned or stored link."""
    return "calibration" if role == "demonstrations" else role


def is_singular(role: str, needs: Collection[str], *, n_tokens: int, n_inputs: int) -> bool:
    """Whether the Gram matrix of a layer is singular: a variant multiplies fewer tokens than the layer has inputs.

    Args:
        role: of the sets with the tokens, as the catalog names it.
        needs: statistics that the score and the refiner of the variant read.
        n_tokens: tokens of the sets that reach the layer.
    """
    multiplies = "products" in needs if role == "calibration" else role in ("reconstruction", "quantisation")
    return multiplies and n_tokens < n_inputs


def token_rows(tokens: CalibrationTokens) -> list[Row]:
    """Return a row per reading variant, role and language, with the expert that the fewest of its tokens reached."""
    rows: list[Row] = []
    for read in tokens.reads:
        for language, n_tokens in read.tokens.items():
            fewest = read.fewest(language)
            of_expert: Row = {} if fewest is None else {"block": fewest[0][0], "expert": fewest[0][1]}
            at_least = "unknown" if read.experts is None else None if fewest is None else fewest[1]
            own: Row = {"role": read.role, "language": language, "n_tokens": n_tokens, "fewest_at_an_expert": at_least}
            rows.append({**own, **of_expert, "read_by": read.variant_id})
    return rows


def token_line(tokens: CalibrationTokens) -> str:
    """Return one line about the tokens that a variant was made with."""
    unknown = [] if tokens.is_known else ["unknown for a checkpoint that was made elsewhere"]
    return f"calibration tokens: {'; '.join([*unknown, *map(_read_text, tokens.reads)]) or 'none, no method read text'}"


def _read_text(read: TokensRead) -> str:
    everywhere = f"{read.role} {languages_text(read.tokens)}"
    if read.experts is None:
        return f"{everywhere}, at experts unknown"
    if (fewest := read.fewest()) is None:
        return f"{everywhere} at every layer"
    (block, expert), n_tokens = fewest
    at_expert = languages_text({name: read.experts[block, expert].get(name, 0) for name in read.tokens})
    return f"{everywhere}, at experts {n_tokens:,} or more (expert {expert} of block {block}: {at_expert})"


def languages_text(tokens: ByLanguage) -> str:
    """Return numbers of tokens by language, the smallest first."""
    return ", ".join(f"{name} {n:,}" for name, n in sorted(tokens.items(), key=lambda one: (one[1], one[0])))


def calibration_tokens(store: Store, variant: Record) -> CalibrationTokens:
    """Count the tokens that reached the layers and experts of a variant, and of those that it was made from.

    Raises:
        DamagedArtefactError: the file of a set is missing or damaged.
        StoreError: the store lacks a record that the variant was made from.
    """
    lineage = _lineage(store, variant)
    is_known = not any(NOT_REBUILT.keys() & one.parameters.keys() for one in lineage)
    return CalibrationTokens(is_known, tuple(read for one in lineage for read in tokens_read(store, one)))


def tokens_read(store: Store, variant: Record) -> Iterator[TokensRead]:
    """Yield what a variant itself read, role by role; what its parents read is left out."""
    of_parents = {_set_of(link) for parent in _parents(store, variant) for link in _links(parent)}
    sets: dict[str, list[str]] = {}
    for role, set_id in dict.fromkeys(map(_set_of, _links(variant))):
        if (role, set_id) not in of_parents:
            sets.setdefault(role, []).append(set_id)
    (row,) = variant.rows["variants"]
    n_used = row.get("n_demonstrations")
    for role, set_ids in sets.items():
        n_demonstrations = as_int(n_used) if role in OF_STATISTICS and n_used is not None else None
        counts = [
            counted_by_language(set_tokens(store, one), _scope(row, role), n_demonstrations=n_demonstrations)
            for one in set_ids
        ]
        yield TokensRead(variant.id, role, _added(counts), _experts(store, variant, role, set_ids=set_ids))


def layers_of(store: Store, base_model_id: str) -> tuple[Layer, ...]:
    """Return the layers of a base model that can be pruned; none if an earlier version wrote its record."""
    return _layers(store.uri, base_model_id)


@lru_cache(maxsize=8)
def _layers(store_uri: str, base_model_id: str) -> tuple[Layer, ...]:
    rows = Store(store_uri).require("base_models", base_model_id).rows.get("model_layers", ())
    return tuple(
        Layer(as_int(row["block"]), as_str(row["layer"]), as_int(row["n_in"])) for row in rows if row["is_pruned"]
    )


def set_tokens(store: Store, set_id: str) -> tuple[SideTokens, ...]:
    """Return the tokens of every side of the demonstrations of a stored set."""
    return _set_tokens(store.uri, set_id)


@lru_cache(maxsize=64)
def _set_tokens(store_uri: str, set_id: str) -> tuple[SideTokens, ...]:
    store = Store(store_uri)
    record = store.require("demonstration_sets", set_id)
    return tuple(side_tokens(store, record, store.read_table(record.artefacts[0], COLUMNS)))


def _lineage(store: Store, variant: Record) -> list[Record]:
    """Return a variant and all variants that it was made from, each once."""
    lineage, waiting = dict[str, Record](), [variant]
    while waiting:
        one = waiting.pop(0)
        if one.id not in lineage:
            lineage[one.id] = one
            waiting += _parents(store, one)
    return list(lineage.values())


def _parents(store: Store, variant: Record) -> list[Record]:
    links = variant.rows.get("variant_parents", ())
    return [store.require("variants", as_str(link["parent_variant_id"])) for link in links]


def _links(variant: Record) -> Sequence[Row]:
    return [{**link} for link in variant.rows.get("variant_demonstrations", ())]


def _set_of(link: Row) -> tuple[str, str]:
    """Return the role of a set, as the catalog names it, and its id."""
    return role_name(as_str(link["role"])), as_str(link["demonstration_set_id"])


def _scope(row: JsonObject, role: str) -> TokenScope:
    """Return the tokens of the sets of a role that count."""
    return cast("TokenScope", (role in OF_STATISTICS and row.get("token_scope")) or "all")


def _experts(store: Store, variant: Record, role: str, *, set_ids: list[str]) -> Mapping[Expert, ByLanguage] | None:
    """Return the tokens of some sets that reached each expert.

    They are unknown for sets that were not observed for statistics, for a part or a bootstrap of the demonstrations,
    and if an earlier version observed the sets.
    """
    (row,) = variant.rows["variants"]
    if not any(layer.expert for layer in layers_of(store, as_str(row["base_model_id"]))):
        return {}
    is_part = row.get("n_demonstrations") is not None or row.get("resample_seed") is not None
    if role not in OF_STATISTICS or is_part:
        return None
    scope, missing = _scope(row, role), set(set_ids)
    experts: dict[Expert, dict[str, int]] = {}
    for observed in _observed(store, variant):
        rows = [one for one in observed if one["demonstration_set_id"] in missing]
        missing -= {as_str(one["demonstration_set_id"]) for one in rows}
        for one in rows:
            group = Group(as_str(one["side"]), as_str(one["language"]))
            is_counted = scope == "last_shot" or is_in(group, scope)
            for expert, n_tokens in enumerate(as_list(one["n_tokens"]) if is_counted else ()):
                by_language = experts.setdefault((as_int(one["block"]), expert), {})
                by_language[group.language] = by_language.get(group.language, 0) + as_int(n_tokens)
    return None if missing else experts


def _observed(store: Store, variant: Record) -> Iterator[list[Row]]:
    """Yield the rows of every record that counts the tokens of experts for a variant."""
    if variant.rows["variants"][0].get("propagation") == "sequential":
        blocks = dict.fromkeys(layer.block for layer in layers_of(store, variant.parent("base_model")))
        keys = [block_identity(variant.id, block, parents={"variant": variant.id}).key for block in blocks]
        records = [store.read_record(*key) for key in keys]
        yield [dict(row) for one in records if one is not None for row in one.rows.get("expert_tokens", ())]
        return
    masks = stored_masks(store, variant)
    parents = {} if masks is None else masks.record.parents
    named = {role: parents[role] for role in OBSERVATIONS if role in parents}
    ids = dict.fromkeys(one for value in named.values() for one in ([value] if isinstance(value, str) else value))
    kinds = ("statistics", "expert_statistics")
    for record_id in ids:
        found = [record for kind in kinds if (record := store.read_record(kind, record_id)) is not None]
        yield [dict(row) for record in found for row in record.rows.get("expert_tokens", ())]


def _added(counts: list[dict[str, int]]) -> dict[str, int]:
    languages = dict.fromkeys(language for one in counts for language in one)
    return {language: sum(one.get(language, 0) for one in counts) for language in languages}
