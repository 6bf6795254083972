"""Rebuild the keep masks of a variant from what the store holds, without running the model, and compare.

What is read are the base model's weights and the stored statistics (of a combination: its parents' masks). Variants
whose weights changed cannot be rebuilt that way: SparseGPT's inputs are not stored.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlprune.errors import BadInputError
from mlprune.models.families.records import FAMILIES
from mlprune.models.loading import ModelInfo, read_block
from mlprune.parallel import parallel_map
from mlprune.pruning.mask_files import fingerprint
from mlprune.pruning.scoring import BlockLevels, block_levels
from mlprune.pruning.spec import Reading, Schedule, Scope, ScoreSpec
from mlprune.steps.base_model import require_base_model
from mlprune.steps.job import Identity, ModelRef
from mlprune.steps.observe.statistics_files import read_block_statistics
from mlprune.steps.prune.combine import combined_block
from mlprune.steps.prune.ordering import Ordering, order_block, sparsities_of
from mlprune.steps.prune.sweep import roles, swept_factors
from mlprune.steps.prune.variant import VariantSpec
from mlprune.store.records import Record
from mlprune.store.store import Store


@dataclass(frozen=True)
class Verification:
    """What came of rebuilding a variant."""

    variant_id: str
    expected: str
    """Fingerprint that the variant's record has."""
    found: str
    """Fingerprint of the rebuilt masks."""

    @property
    def is_equal(self) -> bool:
        """Whether every entry of every mask is the same."""
        return self.expected == self.found


def verify_variant(store: Store, record: Record, model_path: Path) -> Verification:
    """Rebuild a variant block by block and compare fingerprints.

    Args:
        record: of a variant.
        model_path: folder of its base model.
    Raises:
        BadInputError: the variant has no masks, its weights changed, or the folder holds another model.
        DamagedArtefactError: a statistics or mask file is missing or damaged.
    """
    row = record.rows["variants"][0]
    if row["mask_sha256"] is None or row["weights_changed"]:
        got = "changed weights" if row["weights_changed"] else "the dense model"
        raise BadInputError("only masks can be rebuilt", variant_id=record.id, expected="a masked variant", got=got)
    info = require_base_model(model_path, record.parents["base_model"])
    blocks = parallel_map(_rebuilder(store, record, info), range(info.n_blocks))
    keeps = [(block, layer, one.keep_sha256[0]) for block, found in enumerate(blocks) for layer, one in found.items()]
    return Verification(record.id, row["mask_sha256"], fingerprint(keeps))


def _rebuilder(store: Store, record: Record, info: ModelInfo) -> Callable[[int], BlockLevels]:
    """What makes the levels of a block anew."""
    spec = _spec(record, info)
    if spec.combination is not None:
        parents = [store.require("variants", parent) for parent in spec.parent_ids]
        return lambda block: combined_block(store, parents, block, variant=spec)
    ordering = _ordering(store, record, spec)
    if spec.propagation != "sequential":
        return lambda block: order_block(store, spec.model, block, ordering)

    def swept(block: int) -> BlockLevels:
        statistics = {role: read_block_statistics(store, record.artefacts, block, role=role) for role in roles(spec)}
        family = FAMILIES[spec.model.family]
        return block_levels(
            read_block(info.path, block, dtype=spec.model.dtype),
            choice=ordering.choice,
            sparsities=sparsities_of(store, family, block, ordering),
            block=block,
            family=family,
            factors=swept_factors(spec, statistics),
        )

    return swept


def _spec(record: Record, info: ModelInfo) -> VariantSpec:
    """What the variant's record says it is made of."""
    values, parents = record.parameters, record.parents
    dtype = values.get("dtype", "float32")
    model = ModelRef(parents["base_model"], str(info.path), info.family, info.n_blocks, None, dtype)
    identity = Identity(record.kind, values, parents, record.contents)
    if "combination" in values:
        made = {"combination": values["combination"], "parent_ids": tuple(parents["variants"])}
        return VariantSpec(identity, model, sparsity=record.rows["variants"][0]["sparsity"], **made)
    return VariantSpec(
        identity,
        model,
        sparsity=values["sparsity"],
        choice=ScoreSpec.from_parameters(values),
        propagation=values.get("propagation"),
        reading=Reading.from_parameters(values) if "propagation" in values else None,
        set_ids=tuple(parents.get("demonstration_sets", ())),
        contrast_set_id=parents.get("contrast_set"),
        schedule=Schedule.from_parameters(values["schedule"]),
        scope=Scope.from_parameters(values["scope"]),
        profile=values["profile"],
    )


def _ordering(store: Store, record: Record, spec: VariantSpec) -> Ordering:
    """The ordering the variant's masks come from, cut at its own sparsity alone."""
    assert spec.choice is not None, "a variant with masks of its own has a score"
    parents: dict[str, Any] = dict(store.require("masks", record.rows["variants"][0]["ordering_id"]).parents)
    ordering = Ordering(spec.choice, (spec.sparsity,), spec.schedule, spec.scope, spec.reading)
    return replace(
        ordering,
        statistics=tuple(parents.get("statistics", ())),
        contrast=parents.get("contrast_statistics"),
        outliers=parents.get("outliers"),
    )
