"""What a store can see of a variant, whatever its id: its recipe, its kind without seeds, its masks and its weights."""

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from typing import NamedTuple

from mlprune.errors import DamagedArtefactError
from mlprune.hashing import canonical_json, digest
from mlprune.json_values import JsonObject, JsonValue
from mlprune.pruning.mask_files import Levels, read_packed_masks
from mlprune.steps.job import Identity
from mlprune.steps.questions.declaring_records import Neighbour
from mlprune.steps.variants.variant import quantisation_in
from mlprune.steps.variants.variant_rows import removed_blocks, stored_masks, with_all_tokens
from mlprune.store.records import Artefact, Record
from mlprune.store.store import Store

COMPUTATION = frozenset({"dtype", "batch_tokens", "device", "tf32"})
"""Parameters that say how something was computed."""
SEEDS = frozenset({"seed", "resample_seed"})
WEIGHT_SUFFIXES = (".safetensors", ".bin")
"""Ends of the names of files with weights of a base model."""
KINDS = ("variants", "demonstration_sets", "base_models")
"""Kinds of records that determine a variant."""


class VariantKeys(NamedTuple):
    """Hashes of what determines a variant; equal for two variants if they agree in it."""

    recipe: str
    """Everything but the dtype, the size of batches, the device, and the text files of the base model."""
    unseeded: str
    """The same without seeds of sets, scores and resamples."""
    neighbourhood: str
    """The weights of the base model, the scores and the demonstration sets."""


class KnownVariants:
    """Variants of a store and of a plan.

    Args:
        identities: id -> identity of what the plan makes.
    """

    def __init__(self, store: Store, identities: Mapping[str, Identity]) -> None:
        self._store = store
        self._identities = identities
        self._described: dict[str, Identity | Record | None] = {}
        self._keys: dict[str, VariantKeys] = {}

    def keys(self, variant_id: str) -> VariantKeys:
        """Return the keys of a variant; a variant that is neither planned nor stored has those of its id alone."""
        if variant_id not in self._keys:
            sources, scores = self._sources(variant_id)
            self._keys[variant_id] = VariantKeys(
                digest(self._content(variant_id, COMPUTATION)),
                digest(self._content(variant_id, COMPUTATION | SEEDS)),
                digest([sorted(sources), sorted(scores)]),
            )
        return self._keys[variant_id]

    def is_stored(self, variant_id: str) -> bool:
        """Whether the record of a variant is in the store."""
        return self._store.has_record("variants", variant_id)

    def is_known(self, variant_id: str) -> bool:
        """Whether a variant is planned, or its record can be read, so that others can be compared with it."""
        return self._find(variant_id) is not None

    def has_changes(self, variant_id: str) -> bool:
        """Whether a stored variant removes or changes weights."""
        record = self._store.read_record("variants", variant_id)
        row = record.rows["variants"][0] if record is not None else {}
        return bool(row.get("mask_sha256") or row.get("weights_changed") or row.get("removed_blocks"))

    def weights_key(self, variant_id: str) -> Hashable:
        """Return a key that two stored variants share if all their weights are equal; None if it cannot be known."""
        record = self._store.read_record("variants", variant_id)
        if record is None or not self.has_changes(variant_id):
            return None
        row = record.rows["variants"][0]
        try:
            of_weights = with_all_tokens(self._store, record)
            has_values = row.get("weights_changed") or row.get("biases_changed")
            masks = stored_masks(self._store, of_weights) if has_values else None
        except DamagedArtefactError:
            return None
        return (
            digest(self._content(record.parent("base_model"), COMPUTATION)),
            row.get("mask_sha256"),
            removed_blocks(record),
            quantisation_in(of_weights),
            _hashes(masks.weights) if masks else (),
            _hashes(masks.biases) if masks else (),
            canonical_json([row.get("intervention"), row.get("intervention_parameters")]),
        )

    def nearest(self, variant_ids: Collection[str], others: Collection[str]) -> dict[str, Neighbour]:
        """Return variant -> the one of some others whose masks agree most, of equal model, scores and sets.

        The masks of each variant are read once. Variants without masks in the store have no neighbour.
        """
        groups: dict[str, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
        for side, ids in enumerate((variant_ids, others)):
            for variant_id in sorted(set(ids)):
                groups[self.keys(variant_id).neighbourhood][side].append(variant_id)
        return {
            variant_id: neighbour
            for own, known in groups.values()
            if own and known
            for variant_id, neighbour in self._nearest(own, known)
        }

    def _nearest(self, own: Sequence[str], others: Sequence[str]) -> Iterator[tuple[str, Neighbour]]:
        masks = {variant_id: self._masks(variant_id) for variant_id in (*own, *others)}
        own, others = ([variant_id for variant_id in ids if masks[variant_id]] for ids in (own, others))
        if not own or not others:
            return
        n_weights, n_different = 0, dict.fromkeys(((a, b) for a in own for b in others), 0)
        for blocks in zip(*(masks[variant_id] for variant_id in own), strict=True):
            packed = {variant_id: _bits(self._store, *files) for variant_id, files in zip(own, blocks, strict=True)}
            n_weights += sum(n for n, _ in packed[own[0]].values())
            for other in others:
                bits = _bits(self._store, *masks[other].pop(0))
                for variant_id, layers in packed.items():
                    n_different[variant_id, other] += sum(
                        (of_variant ^ bits[layer][1]).bit_count() for layer, (_, of_variant) in layers.items()
                    )
        for variant_id in own:
            n, best = min((n_different[variant_id, other], other) for other in others)
            yield variant_id, Neighbour(best, 1 - n / n_weights)

    def _masks(self, variant_id: str) -> list[tuple[Artefact, Levels]]:
        """Return the mask files of a variant with its levels in them; nothing if they are not all in the store."""
        record = self._store.read_record("variants", variant_id)
        try:
            stored = stored_masks(self._store, record) if record is not None else None
        except DamagedArtefactError:
            return []
        return list(stored.files) if stored and self._store.is_complete(stored.record) else []

    def _find(self, record_id: str) -> Identity | Record | None:
        if record_id not in self._described:
            found: Identity | Record | None = self._identities.get(record_id)
            for kind in KINDS if found is None else ():
                found = found or self._store.read_record(kind, record_id)
            self._described[record_id] = found
        return self._described[record_id]

    def _content(self, record_id: str, left_out: frozenset[str]) -> JsonValue:
        """Return what determines a record, without some parameters and without the text files of a base model."""
        found = self._find(record_id)
        if found is None:
            return record_id
        if found.kind == "base_models":
            return sorted(sha for name, sha in found.contents.items() if name.endswith(WEIGHT_SUFFIXES)) or record_id
        parents: JsonObject = {
            role: [self._content(parent, left_out) for parent in _listed(ids)] for role, ids in found.parents.items()
        }
        contents = {name: sha for name, sha in found.contents.items() if name != "tokenizer"}
        return [found.kind, _without(found.parameters, left_out), parents, contents]

    def _sources(self, record_id: str) -> tuple[set[str], set[str]]:
        """Return hashes of the base models and sets of a variant and those that it is derived from, and the scores."""
        found = self._find(record_id)
        if found is None or found.kind != "variants":
            return {digest(self._content(record_id, COMPUTATION | {"left_out"}))}, set()
        sources: set[str] = set()
        scores = {str(found.parameters["score"])} if "score" in found.parameters else set()
        for parent in (parent for ids in found.parents.values() for parent in _listed(ids)):
            of_parent = self._sources(parent)
            sources |= of_parent[0]
            scores |= of_parent[1]
        return sources, scores


def _bits(store: Store, artefact: Artefact, levels: Levels) -> dict[str, tuple[int, int]]:
    """Return layer -> number of its weights, and its keep mask as the bits of an integer."""
    masks = read_packed_masks(store.uri, artefact, levels)
    return {
        layer: (mask.shape[0] * mask.shape[1], int.from_bytes(mask.bits.tobytes(), "little"))
        for layer, mask in masks.items()
    }


def _hashes(artefacts: Sequence[Artefact]) -> tuple[str, ...]:
    return tuple(artefact.sha256 for artefact in artefacts)


def _listed(ids: str | Sequence[str]) -> Sequence[str]:
    return [ids] if isinstance(ids, str) else ids


def _without(value: JsonValue, names: frozenset[str]) -> JsonValue:
    """Return a JSON value without some keys, at any depth; an object that becomes empty is left out, too."""
    if isinstance(value, Mapping):
        kept = {key: _without(each, names) for key, each in value.items() if key not in names}
        return {key: each for key, each in kept.items() if each != {}}
    return [_without(each, names) for each in value] if isinstance(value, list | tuple) else value
