"""Adopted variants: plan them, and store the masks and new values of checkpoints that were made elsewhere."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mlprune.capabilities.adoption.difference import (
    compare_checkpoint,
    layer_differences,
    open_adopted,
    quantised_record,
)
from mlprune.capabilities.adoption.quantised import layer_rows
from mlprune.capabilities.adoption.records import ADOPTED
from mlprune.capabilities.adoption.variant import AdoptedVariant
from mlprune.capabilities.adoption.wider_files import stored
from mlprune.capabilities.capability import Planned, Variants
from mlprune.errors import RecipeError
from mlprune.hashing import digest
from mlprune.json_values import JsonObject, JsonValue, Row
from mlprune.models.checkpoint.weight_files import WeightFiles
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.processes.job_parts import finished_parts
from mlprune.processes.parallel import parallel_map
from mlprune.pruning.mask_files import (
    biases_path,
    embeddings_path,
    mask_path,
    weights_path,
    write_block_masks,
    write_block_weights,
)
from mlprune.pruning.scoring import described_levels
from mlprune.recipe.models import Recipe
from mlprune.recipe.variants import VariantConfig
from mlprune.steps.checkpoints import checkpoint_content, checkpoint_folder, origin_of, require_unchanged
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import ChainLoader, JobCost, RecordKey, SetSizes, make_identity
from mlprune.steps.variants.masks_job import MasksJob
from mlprune.steps.variants.planned_variant import PlannedVariant, with_entry
from mlprune.steps.variants.scored_variant import block_identity
from mlprune.steps.variants.variant import DenseVariant, dense_variant, of_kind
from mlprune.steps.variants.variant_rows import write_variants
from mlprune.steps.variants.without_blocks import require_no_masks_of, rows_without_blocks
from mlprune.store.records import Record
from mlprune.store.store import Store
from mlprune.trimming.folder import KeptTokens, kept_tokens

BYTES_PER_WEIGHT = 32
"""Memory per weight of a block: both weights and the new one, in float32 at most, copies of both in the order of heads
and neurons, and masks."""


@dataclass(frozen=True)
class AdoptJob(MasksJob):
    """Compare a checkpoint with its base model, and write its masks and new values block by block."""

    variant: AdoptedVariant

    @property
    def makes(self) -> tuple[RecordKey, ...]:
        """The ordering, which has one level, and the variant; without whole blocks it has no masks."""
        return (self.variant.identity.key,) if self.variant.lacks_blocks else super().makes

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The base model."""
        return (("base_models", self.variant.model.base_model_id),)

    @property
    def artefact_record(self) -> RecordKey | None:
        """The ordering, which has the masks."""
        return None if self.variant.difference.removed_blocks else super().artefact_record

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """All blocks, one per thread."""
        return JobCost.per_block(self.step, sizes, BYTES_PER_WEIGHT, writes_masks=True)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Write the masks and new values of all blocks, then the records.

        Raises:
            BadInputError: the checkpoint has changed since it was planned.
        """
        folder, variant = Path(self.variant.folder), self.variant
        require_unchanged(folder, digest(dict(variant.identity.contents)))
        if variant.difference.removed_blocks:
            rows = rows_without_blocks(variant, variant.difference.removed_blocks)
            store.write_record(variant.identity.record(rows=rows))
            return
        n_blocks = variant.model.n_blocks
        written = parallel_map(lambda block: self._write_block(store, block), range(n_blocks))
        blocks = list(finished_parts("block", n_blocks, written))
        columns: JsonObject = {"biases_changed": True} if variant.difference.biases_changed else {}
        what: Row = {"variant_id": variant.id, **variant.difference.quantised}
        rows = {"quantised_checkpoints": [what]} if variant.difference.quantised else {}
        write_variants(store, self.ordering, blocks, (variant,), columns=columns, rows=rows)

    def _write_block(self, store: Store, block: int) -> Record:
        """Write the files of a block. If any weight of the model has a new value, pruned layers are stored whole."""
        base, own = (Path(folder) for folder in (self.variant.model.path, self.variant.folder))
        owner, difference = self.ordering.id, self.variant.difference
        files, adopted = open_adopted(base, own)
        layers = dict(layer_differences(files, adopted, block, has_codes=bool(difference.quantised)))
        levels = {
            name: described_levels((~layer.removed).byte().contiguous(), (self.variant.sparsity,))
            for name, layer in layers.items()
        }
        artefacts = [write_block_masks(store, mask_path(owner, block), levels)]
        if difference.weights_changed:
            weights = {
                name: layer.weight for name, layer in layers.items() if layer.is_changed or bool(layer.removed.any())
            }
            artefacts.append(write_block_weights(store, weights_path(owner, block), weights))
        if difference.biases_changed:
            biases = {name: layer.bias for name, layer in layers.items() if layer.bias is not None}
            artefacts.append(write_block_weights(store, biases_path(owner, block), biases))
        if difference.embeddings and block == 0:
            embeddings = {name: stored(adopted, name) for name in difference.embeddings}
            artefacts.append(write_block_weights(store, embeddings_path(owner), embeddings))
        identity, record = block_identity(owner, block, parents={"variant": self.variant.id}), quantised_record(own)
        own_files = WeightFiles(own, files.architecture)
        coded = list(layer_rows(own_files, record, self.variant.id, block)) if record else []
        made = identity.record(artefacts=tuple(artefacts), rows={"quantised_layers": coded} if coded else {})
        if coded:
            store.write_record(made)
        return made


def add_adopted(planned: Planned, variants: Variants) -> Variants:
    """Return the planned variants and those of checkpoints that were made elsewhere.

    Of a checkpoint with fewer tokens, the variant has all of them; one with fewer tokens is derived from it.

    Raises:
        BadInputError: a checkpoint is not a pruned form of the recipe's model; see `compare_checkpoint`.
        ModelError: a checkpoint cannot be read.
        RecipeError: a quantised checkpoint is to be changed, masks are asked for of a checkpoint that lacks whole
            blocks, or masks or other tokens of one that has fewer tokens.
    """
    recipe, inputs, together = planned.recipe, planned.inputs, dict(variants)
    for entry in recipe.variants:
        if entry.adopt is not None:
            folder = checkpoint_folder(recipe, entry.adopt)
            tokens = kept_tokens(Path(inputs.model.path), folder)
            if tokens is not None:
                _require_own_tokens(recipe, entry)
            variant = _planned(inputs, folder, tokens)
            if isinstance(variant, AdoptedVariant) and variant.difference.quantised:
                _require_only_adopted(recipe, entry)
            if variant.lacks_blocks:
                require_no_masks_of(recipe, entry)
            together = with_entry(together, entry, [PlannedVariant(variant)])
    return together


def require_fewer_tokens(planned: Planned, variants: Variants) -> Variants:
    """Return the planned variants, in which those of checkpoints with fewer tokens are derived by now.

    Raises:
        RecipeError: one is not: it has all tokens.
    """
    base = Path(planned.inputs.model.path)
    entries = (entry for variant in variants.values() if variant.spec.has_all_tokens for entry in variant.entries)
    for entry in entries:
        checkpoint = entry.adopt if isinstance(entry, VariantConfig) else None
        if checkpoint is not None and kept_tokens(base, checkpoint_folder(planned.recipe, checkpoint)) is not None:
            message = "the checkpoint has fewer tokens than its base model, and no capability plans such variants"
            raise RecipeError(message, variant=entry.name, key="adopt", expected="a checkpoint with all tokens")
    return variants


def _require_own_tokens(recipe: Recipe, entry: VariantConfig) -> None:
    """Refuse other tokens, and combinations of masks, for a checkpoint with fewer tokens."""
    if entry.keep is not None:
        message = "the checkpoint has fewer tokens than its base model already"
        raise RecipeError(message, variant=entry.name, key="keep", expected="no keep")
    if any(entry.name in other.of for other in recipe.variants):
        message = "masks of a checkpoint with fewer tokens cannot be combined"
        raise RecipeError(message, variant=entry.name, key="of", expected="names of other variants")


def _require_only_adopted(recipe: Recipe, entry: VariantConfig) -> None:
    """Refuse what changes the weights or tokens of a quantised checkpoint."""
    keys = [key for key in ("bits", "quantise", "reconstruct", "keep") if getattr(entry, key, None) is not None]
    if any(entry.name in other.of for other in recipe.variants):
        keys.append("of")
    if keys:
        message = "a quantised checkpoint is evaluated as it is: it is not rounded, fitted, trimmed or combined"
        raise RecipeError(message, variant=entry.name, key=keys[0], expected="only adopt")


def _planned(inputs: Inputs, folder: Path, tokens: KeptTokens | None) -> AdoptedVariant | DenseVariant:
    """Return the variant of a checkpoint, with all tokens; the dense one if the checkpoint only lacks tokens."""
    difference = compare_checkpoint(Path(inputs.model.path), folder, tokens=tokens)
    if difference.is_none:
        return dense_variant(inputs.base, inputs.model)
    contents = checkpoint_content(folder)
    parents = {"base_model": inputs.base.id}
    parameters: dict[str, JsonValue] = {ADOPTED: True}
    if difference.quantised:
        parameters["quantised"] = digest(dict(difference.quantised))
    identity = make_identity("variants", parameters, parents=parents, contents=contents)
    dense = dense_variant(inputs.base, inputs.model)
    return AdoptedVariant(identity, inputs.model, str(folder), tuple(origin_of(folder)), difference, dense)


def adopt_jobs(planned: Planned) -> Iterator[AdoptJob]:
    """Yield the job of each adopted variant."""
    for spec in of_kind(AdoptedVariant, (variant.spec for variant in planned.variants.values())):
        yield AdoptJob(make_identity("masks", {ADOPTED: True}, parents={"variant": spec.id}), spec)
