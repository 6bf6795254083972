"""Codes of the weights of one block: rounded by GPTQ or to nearest, written, and compared with the dense block."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mlprune.capabilities.quantisation.variant import CodedVariant
from mlprune.errors import statistics_context
from mlprune.json_values import Row
from mlprune.models.architecture.architecture import BlockArchitecture
from mlprune.models.architecture.units import unit_layouts
from mlprune.models.checkpoint.weight_files import architecture_at, read_json_object
from mlprune.models.masks.block_changes import BlockChanges
from mlprune.models.messages import SweepObservation
from mlprune.numeric.activations.gram import combined_products, mirrored
from mlprune.numeric.masks.packed_masks import PackedMask
from mlprune.numeric.weights.codes import CodeFormat, coded_tensors
from mlprune.numeric.weights.gptq import InputFactor, gptq, input_factor, nearest
from mlprune.numeric.weights.layer_inputs import layer_errors
from mlprune.processes.parallel import parallel_map
from mlprune.pruning.mask_files import (
    StoredChanges,
    biases_path,
    mask_path,
    weights_path,
    write_block_masks,
    write_block_weights,
)
from mlprune.pruning.scoring import described_levels
from mlprune.store.records import Artefact
from mlprune.store.store import Store


@dataclass(frozen=True)
class CodedBlock:
    """What the record of a block contains."""

    files: tuple[Artefact, ...]
    rows: Mapping[str, Sequence[Row]]
    """Table -> rows."""


@dataclass(frozen=True)
class _Input:
    """An input, and what GPTQ reads of it; nothing for rounding to nearest."""

    kept: Tensor | None
    """[in] bool, False for those of removed heads or neurons; None if there are none."""
    products: Sequence[Tensor] = ()
    """[in, in] float64, the Gram matrix of each set."""
    factor: InputFactor | None = None

    @property
    def is_reached(self) -> bool | None:
        """Whether a token reached the input; None if nothing is read."""
        return any(map(_is_reached, self.products)) if self.factor else None


@dataclass(frozen=True)
class _CodedLayer:
    """What is written of a layer."""

    keep: Tensor
    """bool [out, in]."""
    stored: Mapping[str, Tensor]
    """Its codes; see `Codes.tensors`."""
    rows: Mapping[str, Sequence[Row]]


@dataclass(frozen=True)
class BlockCoding:
    """The function that a shard calls to round one block; see `Shard.sweep_prune`. Picklable."""

    store_uri: str
    variant: CodedVariant
    ordering_id: str
    parent: StoredChanges | None
    """The changes of the unrounded variant; None if it is dense."""
    block: int

    def __call__(
        self, weights: Mapping[str, Tensor], observation: SweepObservation
    ) -> tuple[Mapping[str, PackedMask], Mapping[str, Tensor], CodedBlock]:
        """Round the weights of all layers, and write their masks, codes, and the biases of the parent if it has some.

        Args:
            weights: layer -> [out, in] of the dense model.
            observation: with the Gram matrices of each set.
        Returns: no masks and no weights, so that the block stays dense, and what was written.
        """
        store = Store(self.store_uri)
        changes = self.parent(self.block) if self.parent else BlockChanges({})
        made = self._layers(weights, changes, observation)
        levels = {layer: described_levels(one.keep.byte(), (self.variant.sparsity,)) for layer, one in made.items()}
        codes = coded_tensors({layer: one.stored for layer, one in made.items()})
        files = [
            write_block_masks(store, mask_path(self.ordering_id, self.block), levels),
            write_block_weights(store, weights_path(self.variant.id, self.block), codes),
        ]
        if self.parent and self.parent.biases:
            files.append(write_block_weights(store, biases_path(self.variant.id, self.block), changes.biases))
        tables = next(iter(made.values())).rows
        rows = {table: [row for one in made.values() for row in one.rows[table]] for table in tables}
        return {}, {}, CodedBlock(tuple(files), rows)

    def _layers(
        self, weights: Mapping[str, Tensor], changes: BlockChanges, observation: SweepObservation
    ) -> dict[str, _CodedLayer]:
        """Return layer -> its codes, in the order of the block. Layers of one input share the factor of its matrix."""
        kind = architecture_at(self.variant.model.path).block(self.block)
        largest_first = sorted(kind.inputs, key=lambda layers: -weights[layers[0]].shape[1])
        remaining = self._remaining_inputs(kind, weights, changes=changes)

        def of_input(layers: Sequence[str]) -> dict[str, _CodedLayer]:
            with statistics_context(input=layers[0], block=self.block):
                own = self._input(layers[0], observation, kept=remaining.get(layers[0]))
                return {layer: self._layer(layer, weights[layer], changes=changes, inputs=own) for layer in layers}

        found = {layer: one for made in parallel_map(of_input, largest_first) for layer, one in made.items()}
        return {layer: found[layer] for layer in weights}

    def _remaining_inputs(
        self, kind: BlockArchitecture, weights: Mapping[str, Tensor], *, changes: BlockChanges
    ) -> dict[str, Tensor]:
        """Return layer -> [in] bool, the inputs that remain of layers whose masks remove whole heads or neurons only.

        Such a layer is the only one that reads its input.
        """
        masks = {layer: changes.masks[layer].unpack() for layer in kind.after_units if layer in changes.masks}
        masks = {layer: mask for layer, mask in masks.items() if _removes_columns_only(mask)}
        if not masks:
            return {}
        config = read_json_object(Path(self.variant.model.path) / "config.json")
        shapes = {layer: (len(weight), weight.shape[1]) for layer, weight in weights.items()}
        return {
            layout.output: layout.kept_by(mask)[layout.columns].to(weights[layout.output].device)
            for layout in unit_layouts(kind, shapes, config)
            if (mask := masks.get(layout.output)) is not None and layout.removes_units_only(mask)
        }

    def _input(self, name: str, observation: SweepObservation, *, kept: Tensor | None) -> _Input:
        """Return what GPTQ reads of an input; one that no token reached has a matrix of zeros."""
        settings, set_ids = self.variant.settings, self.variant.set_ids
        if not set_ids:
            return _Input(kept)
        products = [mirrored(observation.products_of_sets[set_id][name]) for set_id in set_ids]
        is_reached = any(map(_is_reached, products))
        together = combined_products(products, self.variant.shares) if is_reached else products[0]
        by_activation = settings.order == "by_activation"
        factor = input_factor(together, damping=settings.damping, by_activation=by_activation, kept=kept)
        return _Input(kept, products, factor)

    def _layer(self, layer: str, dense: Tensor, *, changes: BlockChanges, inputs: _Input) -> _CodedLayer:
        settings = self.variant.settings
        layout = CodeFormat(settings.bits, settings.group_size, settings.symmetric)
        first = changes.weights.get(layer, dense).to(device=dense.device, dtype=dense.dtype)
        keep = changes.masks[layer].unpack(dense.device) if layer in changes.masks else None
        if keep is not None and layer in changes.biases:
            first = first * keep  # a new bias compensates for removed weights already
        if inputs.factor is None:
            codes = nearest(first, layout, keep=keep, kept=inputs.kept, dtype=dense.dtype)
        else:
            codes = gptq(first, inputs.factor, layout=layout, keep=keep, dtype=dense.dtype)
        stored = codes.tensors()
        versions = [codes.dequantised()]
        if keep is not None or layer in changes.weights:
            versions.append(first if keep is None else first * keep)
        tables = {
            "quantised_layers": [self._row(layer, dense, stored=stored, inputs=inputs)],
            "quantisation_errors": self._errors(layer, dense, versions=versions, products=inputs.products),
        }
        return _CodedLayer(torch.ones_like(dense, dtype=torch.bool) if keep is None else keep, stored, tables)

    def _row(self, layer: str, dense: Tensor, *, stored: Mapping[str, Tensor], inputs: _Input) -> Row:
        settings, factor = self.variant.settings, inputs.factor
        return {
            "variant_id": self.variant.id,
            "block": self.block,
            "layer": layer,
            "method": settings.method,
            "bits": settings.bits,
            "quantisation_group": settings.group_size,
            "is_symmetric": settings.symmetric,
            "n_weights": dense.numel(),
            "n_bytes": sum(tensor.nbytes for tensor in stored.values()),
            "is_reached": inputs.is_reached,
            "n_dead_features": factor.n_dead if factor else None,
            "n_dampings": factor.n_dampings if factor else None,
        }

    def _errors(self, layer: str, dense: Tensor, versions: Sequence[Tensor], products: Sequence[Tensor]) -> list[Row]:
        """Return the errors on each set that reached the layer.

        Args:
            versions: the rounded weights, then those of the parent if they are not dense.
        """
        rows: list[Row] = []
        for set_id, matrix in zip(self.variant.set_ids, products, strict=True):
            if _is_reached(matrix):
                rounded, *unrounded = layer_errors(dense, versions, products=matrix)
                own: Row = {"variant_id": self.variant.id, "block": self.block, "layer": layer}
                errors: Row = {"error": rounded, "unquantised_error": unrounded[0] if unrounded else 0.0}
                rows.append({**own, "demonstration_set_id": set_id, **errors})
        return rows


def _removes_columns_only(mask: Tensor) -> bool:
    return not bool(mask.all()) and torch.equal(mask, mask[:1].expand_as(mask))


def _is_reached(products: Tensor) -> bool:
    return bool(products.diagonal().any())
