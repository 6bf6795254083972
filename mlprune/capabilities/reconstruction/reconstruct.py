"""Reconstructed variants: plan them, and fit the kept weights and biases of a finished variant block by block.

A pass over the blocks keeps two states of every demonstration: that of the dense model, and that which the blocks of
the variant read. Each block first runs dense, which gives the outputs that its kept weights are then fitted to; see
`mlprune.capabilities.reconstruction.fit`. The files of a block are recorded as soon as they exist. A job that was
killed resumes there: it runs the finished blocks forward without fitting them again.

Every demonstration is a batch of its own. So the result depends on no batch size.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import fsum
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mlprune.capabilities.capability import Planned, Variants
from mlprune.capabilities.reconstruction.block_outputs import BlockOutputs
from mlprune.capabilities.reconstruction.fit import N_PROBED, ReconstructedBlock, reconstruct
from mlprune.capabilities.reconstruction.fit_settings import Reconstruction
from mlprune.capabilities.reconstruction.variant import ReconstructedVariant
from mlprune.corpus.calibration import pad_batch
from mlprune.errors import RecipeError
from mlprune.hashing import without_defaults
from mlprune.json_values import JsonObject, JsonValue, Row
from mlprune.models.chain import Chain, advance_to
from mlprune.models.masks.block_changes import BlockChanges
from mlprune.models.messages import FittedOutput, TokenBatch
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.models.shard import Shard
from mlprune.processes.job_parts import in_parts
from mlprune.pruning.mask_files import (
    biases_path,
    mask_path,
    read_block_weights,
    read_keep_masks,
    weights_path,
    write_block_masks,
    write_block_weights,
)
from mlprune.pruning.scoring import described_levels
from mlprune.recipe.variants import VariantConfig
from mlprune.steps import job
from mlprune.steps.inputs import Inputs
from mlprune.steps.prune.requested_variants import normal_shares, of_seed, set_groups
from mlprune.steps.sets import PlannedSet, PlannedSets
from mlprune.steps.variants.derived_blocks_job import DerivedBlocksJob, changes_of_block
from mlprune.steps.variants.planned_variant import PlannedVariant, with_derived
from mlprune.steps.variants.variant import UNRECONSTRUCTED, of_kind
from mlprune.steps.variants.variant_rows import (
    StoredMasks,
    artefacts_below,
    require_masks,
    stored_changes,
    write_variants,
)
from mlprune.store.records import Artefact, Record
from mlprune.store.store import Store

if TYPE_CHECKING:
    from mlprune.models.inference.block_runner import BlockRunner

DENSE, READ = "dense", "read"
"""First part of the key of a state: that of the dense model, and that which the next block of the variant reads."""
Key = tuple[str, int]
"""(DENSE or READ, number of the demonstration in all sets)."""
MASTER_BYTES = 5 * 4 + 1
"""Bytes per weight of a block while it is fitted: weights twice, gradients and two moments in float32, and the mask."""
FLOW_BYTES = 12
"""Bytes per token of a step and feature of the inputs of a block: inputs of layers and gradients of their outputs."""
SAVED_STATES = 24
"""Values that a block keeps for its backward pass, per token and feature of its widest layer."""
PASSES_OF_A_STEP = 3
"""Time of a step on some tokens in forward passes: one forward, and twice as much backward."""
N_PROBES = 2
"""Gradients that measure the step length."""
OTHER_PASSES = 5
"""Forward passes over all demonstrations: dense, three measurements of the loss, and with the new weights."""
ONE_TEXT_FACTOR = 1.35
"""Time of all passes, in that of their products in large batches: texts run one by one, and attention, activations and
optimiser are not counted. Measured: 65.7 against 48.8 s of CPU time, for one block of the shape of XGLM-564M, 88 texts
of 115 tokens and 100 steps."""


@dataclass(frozen=True)
class FittedBlock:
    """What the record of a reconstructed block contains."""

    files: tuple[Artefact, ...]
    rows: tuple[Row, ...]
    """Of table `reconstructed_blocks`."""


@dataclass(frozen=True)
class BlockFit:
    """The function that a shard calls to fit one block; see `Shard.sweep_fit`. Picklable."""

    store_uri: str
    variant: ReconstructedVariant
    ordering_id: str
    parent: StoredMasks
    block: int
    sizes: tuple[int, ...]
    """Number of demonstrations of each set."""

    def __call__(self, runner: "BlockRunner", demonstrations: Sequence[FittedOutput]) -> FittedBlock:
        """Fit the kept weights, and the biases if wanted; write masks, new weights, and new biases if there are any."""
        store, block = Store(self.store_uri), self.block
        outputs = BlockOutputs(runner, block, demonstrations)
        keeps = read_keep_masks(store.uri, *self.parent.files[block])
        squares = [fsum(of_set) for of_set in self._by_set(outputs.target_squares())]
        fitted = self._fit(outputs, keeps, squares)
        levels = {name: described_levels(keep.byte(), (self.variant.sparsity,)) for name, keep in keeps.items()}
        files = [write_block_masks(store, mask_path(self.ordering_id, block), levels)]
        earlier = read_block_weights(store, self.parent.weights[block]) if self.parent.weights else {}
        weights = {**earlier, **_by_layer(fitted, "weight")}
        files.append(write_block_weights(store, weights_path(self.variant.id, block), weights))
        if self.parent.biases or self.variant.settings.biases:
            of_parent = read_block_weights(store, self.parent.biases[block]) if self.parent.biases else {}
            biases = {**of_parent, **_by_layer(fitted, "bias")}
            files.append(write_block_weights(store, biases_path(self.variant.id, block), biases))
        return FittedBlock(tuple(files), tuple(self._rows(fitted, squares)))

    def _fit(self, outputs: BlockOutputs, keeps: Mapping[str, Tensor], squares: Sequence[float]) -> ReconstructedBlock:
        """Fit all layers; a block of which nothing is removed stays as it is."""
        if all(bool(keep.all()) for keep in keeps.values()):
            errors = outputs.errors({})
            return ReconstructedBlock({}, errors, errors, 0, None)
        shares = zip(self.variant.shares, squares, self.sizes, strict=True)
        coefficients = [share / square if square else 0.0 for share, square, size in shares for _ in range(size)]
        biases = outputs.biases() if self.variant.settings.biases else {}
        kept = {f"{layer}.weight": keep for layer, keep in keeps.items()}
        kept |= {name: torch.ones(bias.shape, dtype=torch.bool) for name, bias in biases.items()}
        return reconstruct({**outputs.weights(), **biases}, kept, outputs, coefficients, self.variant.settings)

    def _by_set(self, values: Sequence[float]) -> Iterator[Sequence[float]]:
        start = 0
        for size in self.sizes:
            yield values[start : start + size]
            start += size

    def _rows(self, fitted: ReconstructedBlock, squares: Sequence[float]) -> Iterator[Row]:
        """Yield the loss of each set before and after."""
        losses = zip(self.variant.set_ids, squares, *map(self._by_set, (fitted.before, fitted.after)), strict=True)
        for set_id, square, before, after in losses:
            yield {
                "variant_id": self.variant.id,
                "block": self.block,
                "demonstration_set_id": set_id,
                "loss_before": fsum(before) / square if square else 0.0,
                "loss_after": fsum(after) / square if square else 0.0,
                "n_steps": fitted.n_steps,
                "step_length": fitted.step_length,
            }


def _by_layer(fitted: ReconstructedBlock, leaf: str) -> dict[str, Tensor]:
    """Return layer -> its fitted weight or bias; empty if the first values were the best."""
    names = [name.rpartition(".") for name in fitted.weights if fitted.n_steps]
    return {layer: fitted.weights[f"{layer}.{leaf}"] for layer, _, of in names if of == leaf}


def reconstruction_cost(
    step: str, sizes: Footprint, size: job.SetSize, settings: Reconstruction, *, longest: int
) -> job.JobCost:
    """Cost of reconstructing all blocks.

    Args:
        size: of all demonstration sets of the reconstruction together.
        longest: tokens of the longest demonstration.
    """
    n_weights = sum(sizes.prunable)
    state_bytes = job.state_bytes(sizes, size.n_tokens, n_states=2)
    best_bytes = 2 * sizes.itemsize * n_weights
    fixed_bytes = job.SMALL_JOB_BYTES + state_bytes + MASTER_BYTES * n_weights + best_bytes + 4 * sizes.block
    fixed_bytes += FLOW_BYTES * max(settings.batch, N_PROBED) * longest * sizes.inputs
    thread_bytes = 4 * SAVED_STATES * longest * sizes.widest
    n_read = min(settings.batch, size.n_demonstrations) * settings.steps + N_PROBES * min(
        N_PROBED, size.n_demonstrations
    )
    n_runs = OTHER_PASSES + PASSES_OF_A_STEP * n_read / max(1, size.n_demonstrations)
    usual = job.JobCost.dense_pass(step, sizes, size.n_tokens, thread_bytes=thread_bytes)
    return replace(
        usual,
        flops=ONE_TEXT_FACTOR * n_runs * usual.flops,
        fixed_bytes=fixed_bytes,
        device_fixed_bytes=fixed_bytes - job.SMALL_JOB_BYTES,
        transfer_bytes=n_weights * (sizes.itemsize + 2),
        disk_bytes=job.n_block_weights(sizes) * (sizes.itemsize + 1 / 8),
    )


@dataclass(frozen=True)
class ReconstructJob(DerivedBlocksJob):
    """Fit the kept weights of a finished variant, block by block."""

    variant: ReconstructedVariant
    max_tokens: int
    """Tokens of the longest demonstration, for its cost."""

    def cost(self, sizes: Footprint, sets: job.SetSizes) -> job.JobCost:
        """All steps on all blocks, one block at a time."""
        size = self.size_of_sets(sets)
        return reconstruction_cost(self.step, sizes, size, self.variant.settings, longest=self.max_tokens)

    def run(self, store: Store, chain: job.ChainLoader) -> None:
        """Fit all blocks, then write the records.

        Raises:
            DamagedArtefactError: a mask file of the parent is missing or damaged.
            StatisticsError: a hidden state is not finite.
        """
        model, parent = chain(), require_masks(store, self.variant.parent.id)
        batches, sizes = self._batches(store)
        fit = BlockFit(store.uri, self.variant, self.ordering.id, parent, block=0, sizes=sizes)
        records = []
        try:
            model.everywhere(Shard.set_keep_masks, None)
            model.everywhere(Shard.sweep_clear)
            for key, batch in batches.items():
                model.on_block(0, Shard.sweep_start, key, batch)
            for block in in_parts("block", range(model.n_blocks)):
                advance_to(model, block, batches)
                records.append(self._fit_block(store, model, replace(fit, block=block), keys=list(batches)))
        finally:
            model.everywhere(Shard.sweep_clear)
        columns = dict(self.variant.new_columns)
        if any(read_block_weights(store, file) for one in records for file in artefacts_below(one, "biases/")):
            columns["biases_changed"] = True
        rows = self.rows_from_parent(store, role=UNRECONSTRUCTED, columns=columns)
        write_variants(store, self.ordering, records, (self.variant,), rows=rows)

    def _batches(self, store: Store) -> tuple[dict[Key, TokenBatch], tuple[int, ...]]:
        """Return every demonstration twice, as a batch of its own, and the number of each set."""
        batches: dict[Key, TokenBatch] = {}
        sizes = []
        for set_id in self.variant.set_ids:
            table = store.read_table(store.require("demonstration_sets", set_id).artefacts[0])
            first = len(batches) // 2
            for number, ids in enumerate(table["token_ids"], start=first):
                batch = pad_batch([ids])
                batches |= {(DENSE, number): batch, (READ, number): batch}
            sizes.append(len(table["token_ids"]))
        return batches, tuple(sizes)

    def _fit_block(self, store: Store, model: Chain, fit: BlockFit, *, keys: Sequence[Key]) -> Record:
        """Fit one block, or apply its stored weights, and keep the states after it."""
        block = fit.block
        dense, read = ([key for key in keys if key[0] == kind] for kind in (DENSE, READ))
        model.on_block(block, Shard.sweep_advance, block, dense)
        record = self.finished_block(store, block)
        if record is None:
            changes_of_parent = stored_changes(store, self.variant.parent.id)
            assert changes_of_parent is not None, "a variant with masks has changes"
            model.on_block(block, Shard.exchange_changes, changes_of_parent, blocks=[block])
            pairs = list(zip(read, dense, strict=True))
            fitted = model.on_block(block, Shard.sweep_fit, block, pairs, fit)
            rows = {"reconstructed_blocks": fitted.rows}
            record = self.block_identity(block).record(artefacts=fitted.files, rows=rows)
            store.write_record(record)
        if block + 1 < model.n_blocks:
            reads_dense = self.variant.settings.propagation == "dense"
            changes = _no_changes if reads_dense else changes_of_block(store, block, record)
            model.on_block(block, Shard.exchange_changes, changes, blocks=[block])
            model.on_block(block, Shard.sweep_advance, block, read)
        return record


def _no_changes(block: int) -> BlockChanges:
    return BlockChanges({})


def add_reconstructed(planned: Planned, variants: Variants) -> Variants:
    """Return the planned variants and, for entries with `reconstruct`, the reconstructed ones; see `with_derived`.

    The dense variant is not reconstructed.

    Raises:
        RecipeError: a variant lacks whole blocks, or no set has its seed.
    """

    def derive(entry: VariantConfig, parent: PlannedVariant) -> Iterator[PlannedVariant]:
        groups = _groups(entry, parent, planned.sets.default)
        return (_reconstructed(planned.inputs, parent, entry, group) for group in groups)

    return with_derived(variants, _applies, derive)


def reconstruct_jobs(planned: Planned) -> Iterator[ReconstructJob]:
    """Yield the job of each reconstructed variant."""
    for variant in planned.variants.values():
        for spec in of_kind(ReconstructedVariant, [variant.spec]):
            ordering = job.make_identity("masks", {"reconstruct": "block"}, parents={"variant": spec.id})
            longest = max(planned.spec.max_tokens for planned in variant.sets)
            yield ReconstructJob(ordering, spec, longest)


def _applies(entry: VariantConfig, variant: PlannedVariant) -> bool:
    return entry.reconstruct is not None and not variant.spec.is_dense


def _groups(entry: VariantConfig, variant: PlannedVariant, sets: PlannedSets) -> list[tuple[PlannedSet, ...]]:
    """Return the sets of each reconstruction: those of the variant, or named ones of its seed, if it has one."""
    config = entry.reconstruct
    assert config is not None, "the entry is reconstructed"
    if variant.spec.lacks_blocks:
        raise RecipeError("a variant without whole blocks cannot be reconstructed", variant=entry.name)
    if not config.names and variant.sets:
        return [variant.sets]
    groups = set_groups(config if config.names else entry, sets)
    return of_seed(groups, variant.seed, variant=entry.name, key="reconstruct")


def _reconstructed(
    inputs: Inputs, parent: PlannedVariant, entry: VariantConfig, group: tuple[PlannedSet, ...]
) -> PlannedVariant:
    config = entry.reconstruct
    assert config is not None, "the entry is reconstructed"
    settings = Reconstruction(
        config.steps,
        config.learning_rate,
        config.batch,
        config.seed,
        config.propagation,
        config.biases,
        normal_shares(config.shares if config.names else entry.shares),
    )
    model, set_ids = parent.spec.model, tuple(planned.id for planned in group)
    computed = job.computed_parameters(model, batch_tokens=1)  # the device is part of the id, batches are not
    parameters: dict[str, JsonValue] = {name: value for name, value in computed.items() if name != "batch_tokens"}
    always = {
        "steps": settings.steps,
        "learning_rate": settings.learning_rate,
        "batch": settings.batch,
    }  # tuned defaults
    parameters["reconstruct"] = {"unit": "block", **always, **without_defaults(settings)}
    parents: JsonObject = {
        "base_model": inputs.base.id,
        UNRECONSTRUCTED: parent.id,
        "demonstration_sets": list[JsonValue](set_ids),
    }
    identity = job.make_identity("variants", parameters, parents=parents)
    labels = tuple(planned.label for planned in group)
    spec = ReconstructedVariant(identity, model, parent.spec, settings, set_ids, labels)
    return PlannedVariant(spec, group, parents=(parent,))
