"""Rebuild the keep masks of a variant from the store, without running the model, and compare them.

The masks are rebuilt from the base model's weights and the stored statistics; those of a combination, from the masks of
its parents. A quantised variant has the masks of its parent. Variants with changed weights cannot be rebuilt, and
neither can those of a sweep that reads more than sums of squares, because the sweep does not store it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from mlprune.errors import BadInputError
from mlprune.json_values import as_float, as_str
from mlprune.models.checkpoint.weight_files import read_block
from mlprune.models.families.records import FAMILIES
from mlprune.models.loading import ModelInfo
from mlprune.processes.parallel import parallel_map
from mlprune.pruning.block_inputs import BlockInputs
from mlprune.pruning.block_pruning import pruned_block
from mlprune.pruning.mask_files import fingerprint
from mlprune.pruning.scoring import BlockLevels
from mlprune.pruning.spec import ScoreSpec
from mlprune.steps.base_model import require_base_model
from mlprune.steps.job import Identity, ModelRef
from mlprune.steps.neurons.selection import neuron_rebuilder
from mlprune.steps.neurons.variant import neuron_variant
from mlprune.steps.observe.block_pass.jobs import OBSERVED_KINDS
from mlprune.steps.observe.statistics_files import read_block_statistics
from mlprune.steps.prune.block_values.plan import values_key
from mlprune.steps.prune.combine import combined_block
from mlprune.steps.prune.ordering import Ordering, order_block, sparsities_of
from mlprune.steps.prune.stored_masks import require_masks, stored_masks
from mlprune.steps.prune.sweep_block import roles, swept_factors
from mlprune.steps.prune.units.jobs import units_rebuilder
from mlprune.steps.prune.variant import CombinedVariant, ScoredVariant, refinement_of, scored_variant
from mlprune.steps.quantise.rows import UNQUANTISED
from mlprune.store.records import Record
from mlprune.store.store import Store
from mlprune.vocabulary import CombinationName, DtypeName


@dataclass(frozen=True)
class Verification:
    """Result of rebuilding a variant."""

    variant_id: str
    expected: str
    """Fingerprint in the variant's record."""
    rebuilt: str
    """Fingerprint of the rebuilt masks."""

    @property
    def is_equal(self) -> bool:
        """Whether all masks are equal."""
        return self.expected == self.rebuilt


def verify_variant(store: Store, record: Record, model_path: Path) -> Verification:
    """Rebuild a variant block by block and compare fingerprints.

    Args:
        record: of a variant.
        model_path: folder of its base model.
    Raises:
        BadInputError: the variant has no masks, its weights changed, its statistics are not stored, or the folder holds
            another model.
        DamagedArtefactError: a statistics or mask file is missing or damaged.
    """
    row = record.rows["variants"][0]
    if UNQUANTISED in record.parents and row["mask_sha256"] is not None:
        parent = verify_variant(store, store.require("variants", record.parent(UNQUANTISED)), model_path)
        return Verification(record.id, as_str(row["mask_sha256"]), parent.rebuilt)
    if row["mask_sha256"] is None or row["weights_changed"]:
        got = "changed weights" if row["mask_sha256"] is not None else "the dense model"
        raise BadInputError("only masks can be rebuilt", variant_id=record.id, expected="a masked variant", got=got)
    if reads_unstored_statistics(record):
        expected = "a variant of dense propagation, or of a method that reads sums of squares"
        raise BadInputError("the statistics of the masks are not stored", variant_id=record.id, expected=expected)
    info = require_base_model(model_path, record.parent("base_model"))
    blocks = parallel_map(_rebuilder(store, record, info), range(info.n_blocks))
    keeps = [
        (block, layer, levels.keep_sha256[0]) for block, layers in enumerate(blocks) for layer, levels in layers.items()
    ]
    return Verification(record.id, as_str(row["mask_sha256"]), fingerprint(keeps))


def reads_unstored_statistics(record: Record) -> bool:
    """Whether the masks of a variant were made from statistics that its sweep did not store."""
    parameters = record.parameters
    if parameters.get("propagation") != "sequential":
        return False
    score, refinement = ScoreSpec.from_parameters(parameters), refinement_of(parameters)
    return not {*score.method.needs, *(refinement.method.needs if refinement else ())} <= {"squares"}


def _rebuilder(store: Store, record: Record, info: ModelInfo) -> Callable[[int], BlockLevels]:
    """Return the function that makes the levels of a block again."""
    values, parents = record.parameters, record.parents
    model = ModelRef(
        record.parent("base_model"),
        str(info.path),
        info.family,
        info.n_blocks,
        None,
        cast("DtypeName", values.get("dtype", "float32")),
    )
    identity = Identity(record.kind, values, parents, record.contents)
    if "combination" in values:
        sparsity = as_float(record.rows["variants"][0]["sparsity"])
        combined = CombinedVariant(
            identity, model, sparsity, cast("CombinationName", values["combination"]), tuple(parents["variants"])
        )
        masks = [require_masks(store, parent) for parent in combined.parent_ids]
        return lambda block: combined_block(store, masks, block, variant=combined)
    if "neurons" in values:
        return neuron_rebuilder(store, neuron_variant(identity, model))
    variant = scored_variant(identity, model, values, parents)
    stored = stored_masks(store, record)
    if stored is None:
        raise BadInputError("only masks can be rebuilt", variant_id=record.id, expected="a masked variant")
    ordering = _ordering(stored.record, variant)
    if variant.score.group.of_model:
        return units_rebuilder(store, variant, ordering)
    calibration = variant.calibration
    if calibration is None or calibration.propagation != "sequential":
        return lambda block: order_block(store, model, block, ordering).levels
    return lambda block: _swept_block(store, stored.record, block, ordering=ordering, variant=variant)


def _swept_block(
    store: Store, record: Record, block: int, *, ordering: Ordering, variant: ScoredVariant
) -> BlockLevels:
    """Return the levels of a block of a sweep, from the statistics that the sweep stored."""
    if variant.calibration is None:
        raise BadInputError("a sweep reads demonstrations", variant_id=variant.id)
    statistics = {
        role: read_block_statistics(store, record.artefacts, block, role=role) for role in roles(variant.calibration)
    }
    family = FAMILIES[variant.model.family]
    return pruned_block(
        read_block(Path(variant.model.path), block, dtype=variant.model.dtype),
        ordering.method,
        sparsities=sparsities_of(store, family, block, ordering),
        inputs=BlockInputs(swept_factors(variant.calibration, statistics)),
        block=block,
        family=family,
    ).levels


def _ordering(record: Record, variant: ScoredVariant) -> Ordering:
    """Return the ordering that the variant's masks come from, with the variant's sparsity only."""
    return Ordering(
        variant,
        (variant.sparsity,),
        statistics=tuple(record.parents.get("statistics", ())),
        contrast=record.optional_parent("contrast_statistics"),
        block_values=values_key(record),
        observations=tuple(
            (name, tuple(record.parents[kind])) for name, kind in OBSERVED_KINDS.items() if kind in record.parents
        ),
    )
