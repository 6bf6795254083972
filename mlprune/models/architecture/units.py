"""Units of a block: attention heads and feed-forward neurons, with their rows and columns in the weights.

A unit of heads is a group of query heads that share a key and a value head: one head, or with grouped-query attention
all query heads of a key head. It has rows of the query, key and value projections and columns of the output projection.
A neuron has rows of the layers before the activation and a column of the layer after it. Every prunable weight of
attention and of the feed-forward part belongs to exactly one unit.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mlprune.errors import ModelError
from mlprune.json_values import JsonObject
from mlprune.models.architecture.architecture import (
    Architecture,
    BlockArchitecture,
    HeadLayout,
    Part,
)

Shapes = Mapping[str, tuple[int, int]]
"""Layer -> (out, in)."""
HEAD_KEYS = ("num_attention_heads", "attention_heads", "n_head", "num_heads", "n_heads")
"""Keys of configs for the number of query heads."""
EXPERT_KEYS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
"""Keys of configs for the number of experts of a block."""
ATTENTION_BIAS_KEY, FEED_FORWARD_BIAS_KEY = BIAS_KEYS = "attention_bias", "mlp_bias"
"""Keys of configs that declare biases of the attention, and of the feed-forward layers."""
LOADER_FILE = "smaller.json"
"""File of a folder whose blocks have different widths, with the config of the base model."""
KEPT_FILE = "kept_units.json"
"""File of an export with fewer heads or neurons: `blocks` has, for each block, kind -> those that remain, ascending."""
INSEPARABLE: Mapping[HeadLayout, str] = {
    "joined": "a norm over all heads together follows the query projection",
    "unknown": "the order of the heads in the weights is not known",
}
"""Layout of heads -> why single heads cannot be removed."""


@dataclass(frozen=True)
class UnitLayout:
    """The units of one kind in a block."""

    kind: str
    """`heads` or `neurons`."""
    n_units: int
    rows: Mapping[str, Tensor]
    """Layer -> [out] int64, the unit of each output row."""
    output: str
    """The layer that reads the outputs of the units."""
    columns: Tensor
    """[in of `output`] int64, the unit of each of its columns."""
    unit_weights: int
    """Prunable weights of one unit."""

    def keep_masks(self, removed: Tensor, shapes: Shapes) -> dict[str, Tensor]:
        """Return layer -> bool [out, in], False for all weights of the removed units.

        Args:
            removed: [n_units] bool.
            shapes: of the layers.
        """
        kept = ~removed
        masks = {layer: kept[rows][:, None].expand(shapes[layer]) for layer, rows in self.rows.items()}
        return masks | {self.output: kept[self.columns][None, :].expand(shapes[self.output])}

    def without_outputs(self, output_mask: Tensor) -> Tensor:
        """Return [n_units] bool, True for units of whose columns the keep mask [out, in] keeps no weight."""
        n_kept = output_mask.any(dim=0).to(torch.int64)
        return torch.zeros(self.n_units, dtype=torch.int64).index_add_(0, self.columns, n_kept) == 0

    def kept_by(self, output_mask: Tensor) -> Tensor:
        """Return [n_units] bool, True for units of whose columns the keep mask [out, in] keeps a weight.

        One unit always remains: the first, if the mask keeps none.
        """
        kept = ~self.without_outputs(output_mask)
        if not bool(kept.any()):
            kept[0] = True
        return kept

    def removes_units_only(self, output_mask: Tensor) -> bool:
        """Whether a keep mask [out, in] removes whole units, and no other weight."""
        kept = ~self.without_outputs(output_mask)
        return not bool(kept.all()) and torch.equal(output_mask, kept[self.columns].expand_as(output_mask))


@dataclass(frozen=True)
class LayerSlice:
    """The rows and columns of a layer that remain."""

    rows: Tensor | None = None
    """[n] int64, ascending; None: all."""
    columns: Tensor | None = None
    """[n] int64, ascending; None: all."""

    def of_weight(self, weight: Tensor) -> Tensor:
        """Return what remains of a weight [out, in]."""
        weight = weight if self.rows is None else weight.index_select(0, self.rows)
        return weight if self.columns is None else weight.index_select(1, self.columns)

    def of_bias(self, bias: Tensor) -> Tensor:
        """Return what remains of a bias [out]."""
        return bias if self.rows is None else bias.index_select(0, self.rows)


@dataclass(frozen=True)
class KeptUnits:
    """The units of one kind in a block that remain."""

    layout: UnitLayout
    kept: Tensor
    """[n_units] bool, True for units that remain."""

    @property
    def n_kept(self) -> int:
        """Number of units that remain."""
        return int(self.kept.sum())

    @property
    def indices(self) -> tuple[int, ...]:
        """The units that remain, ascending."""
        return tuple(_where(self.kept).tolist())

    @property
    def slices(self) -> dict[str, LayerSlice]:
        """Layer -> what remains of it; empty if all units remain."""
        if bool(self.kept.all()):
            return {}
        rows = {layer: LayerSlice(rows=_where(self.kept[owner])) for layer, owner in self.layout.rows.items()}
        return rows | {self.layout.output: LayerSlice(columns=_where(self.kept[self.layout.columns]))}


def _where(kept: Tensor) -> Tensor:
    return kept.nonzero().flatten()


def unit_layouts(block: BlockArchitecture, shapes: Shapes, config: JsonObject) -> tuple[UnitLayout, ...]:
    """Return the heads and the neurons of a block, each if the block has them and single ones can be removed.

    Args:
        shapes: of all layers of the block.
        config: of the model, as its file states it.
    Raises:
        ModelError: the config does not fit the shapes.
    """
    heads = (
        ()
        if block.attention is None or block.heads in INSEPARABLE
        else (_heads(block, block.attention, shapes, config),)
    )
    neurons = () if block.feed_forward is None else (_neurons(block.feed_forward, shapes),)
    return (*heads, *neurons)


def require_separable_heads(architecture: Architecture) -> None:
    """Check that single heads of a model can be removed.

    Raises:
        ModelError: they cannot.
    """
    reasons = {
        INSEPARABLE[kind.heads] if kind.attention is not None else "a kind of block has no attention"
        for kind in architecture.kinds
        if kind.attention is None or kind.heads in INSEPARABLE
    }
    if reasons:
        raise ModelError(
            "single heads of the model cannot be removed", model_type=architecture.name, reason=sorted(reasons)
        )


def require_neurons(architecture: Architecture) -> None:
    """Check that every block of a model has feed-forward neurons.

    Raises:
        ModelError: a block has none.
    """
    if any(kind.feed_forward is None for kind in architecture.kinds):
        raise ModelError("a kind of block has no feed-forward neurons that were found", model_type=architecture.name)


def n_attention_heads(config: JsonObject) -> int:
    """Return the number of query heads of a config.

    Raises:
        ModelError: it has none.
    """
    n_heads = next((config[key] for key in HEAD_KEYS if isinstance(config.get(key), int)), None)
    if not isinstance(n_heads, int) or n_heads < 1:
        raise ModelError("a config has no number of attention heads", expected=list(HEAD_KEYS))
    return n_heads


def _heads(block: BlockArchitecture, attention: Part, shapes: Shapes, config: JsonObject) -> UnitLayout:
    n_heads, layers, output = n_attention_heads(config), attention.before, attention.after
    d_queries = shapes[output][1]
    d_keys = (sum(shapes[layer][0] for layer in layers) - d_queries) // 2
    width = d_queries // n_heads
    n_groups = d_keys // width if width else 0
    if not n_groups or n_heads % n_groups or n_heads * width != d_queries or n_groups * width != d_keys:
        got = {layer: shapes[layer] for layer in (*layers, output)}
        raise ModelError("the number of heads does not fit the weights", expected=n_heads, got=got)
    queries = torch.arange(n_groups).repeat_interleave(width * (n_heads // n_groups))
    keys = torch.arange(n_groups).repeat_interleave(width)
    if block.heads == "interleaved":
        rows = {layers[0]: torch.arange(n_heads).repeat_interleave(3 * width)}
    elif len(layers) == 1:
        rows = {layers[0]: torch.cat([queries, keys, keys])}
    else:
        rows = dict(zip(layers, (queries, keys, keys), strict=True))
    return _layout("heads", n_groups, rows=rows, columns=queries, output=output, shapes=shapes)


def _neurons(feed_forward: Part, shapes: Shapes) -> UnitLayout:
    before, output = feed_forward.before, feed_forward.after
    n_neurons = shapes[output][1]
    rows = {}
    for layer in before:
        n_parts, rest = divmod(shapes[layer][0], n_neurons)
        if rest or not n_parts:
            got = {name: shapes[name] for name in (*before, output)}
            raise ModelError("feed-forward layers do not fit each other", got=got)
        rows[layer] = torch.arange(n_neurons).repeat(n_parts)
    return _layout("neurons", n_neurons, rows=rows, columns=torch.arange(n_neurons), output=output, shapes=shapes)


def _layout(
    kind: str, n_units: int, *, rows: Mapping[str, Tensor], columns: Tensor, output: str, shapes: Shapes
) -> UnitLayout:
    n_weights = sum(shapes[layer][0] * shapes[layer][1] for layer in (*rows, output))
    return UnitLayout(kind, n_units, rows, output, columns, n_weights // n_units)
