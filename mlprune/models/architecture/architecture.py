"""The architecture of a model: its blocks, the layers in each block, and the modules around the blocks.

An architecture is discovered (`discovery.py`); all other modules work with blocks, layers and inputs, and never with a
model class. Modules are named by their dotted paths.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from mlprune.errors import ModelError
from mlprune.vocabulary import SubLayerKind

if TYPE_CHECKING:
    from torch import Tensor

HeadLayout = Literal["blocked", "interleaved", "joined", "unknown"]
"""Rows of the query, key and value projections. `blocked`: all queries, all keys, all values. `interleaved`: query, key
and value of the first head, of the second head and so on. `joined`: as blocked, with a norm over all heads together
after the projection."""
HeadAttribute = Literal["heads", "groups", "width"]
"""`heads`: number of query heads. `groups`: of key heads. `width`: features of all query heads together."""


BLOCK = ".{block}."
"""Stands for the number of a block in the name of a tensor."""


@dataclass(frozen=True)
class Part:
    """Attention or the feed-forward part of a block. Paths are relative to the block."""

    before: tuple[str, ...]
    """Layers before the units: query, key and value projections, or the layers before the activation."""
    after: str
    """The layer that reads the outputs of all units."""


@dataclass(frozen=True)
class SubLayer:
    """The layers of a block that compute one contribution to its hidden states: that of a mixer, or of its neurons."""

    kind: SubLayerKind
    layers: tuple[str, ...]
    """Its prunable layers, relative to the block, in the block's order."""
    outputs: tuple[str, ...]
    """Those whose outputs are added to the hidden states; if they are 0, the contribution is exactly 0."""
    reads_earlier: bool = False
    """Whether it reads the contribution of the sub-layer before it, as in sequential blocks."""


@dataclass(frozen=True)
class DenseParameter:
    """A parameter of two or more dimensions that is not pruned."""

    name: str
    """Relative to the block."""
    shape: tuple[int, ...]
    reason: str


@dataclass(frozen=True)
class Experts:
    """The experts of a block, whose layers are `<path>.<expert>.<name>`."""

    path: str
    """The module of the experts, relative to the block."""
    names: tuple[str, str]
    """The layer of an expert that reads its tokens, and the layer that gives its outputs."""
    n_experts: int
    top_k: int
    """Experts of a token."""
    router: str | None
    """The module with a row of weights per expert, relative to the block; None: it was not found."""
    choosing: str | None = None
    """The module whose forward chooses the experts of each token: the router, or the module around a linear layer."""
    n_groups: int = 1
    """Groups of consecutive experts of equal size, of which the router chooses some before it chooses experts."""
    n_chosen_groups: int = 1

    @property
    def group_size(self) -> int:
        """Experts of a group."""
        return self.n_experts // self.n_groups

    @property
    def least_of_chosen_group(self) -> int:
        """Experts of a group that have to remain so that it can be chosen: routers rank it by its best two."""
        return 2 if self.n_groups > 1 else 1

    @property
    def least_of_group(self) -> int:
        """Experts that remain in every group so that all groups that can be chosen together have enough."""
        n_needed = -(-self.top_k // self.n_chosen_groups)
        return min(self.group_size, max(self.least_of_chosen_group, n_needed))

    def layers(self, expert: int) -> tuple[str, str]:
        """Return the layers of an expert, relative to the block."""
        first, last = self.names
        return f"{self.path}.{expert}.{first}", f"{self.path}.{expert}.{last}"

    def has(self, layer: str) -> bool:
        """Whether a layer belongs to an expert."""
        return layer.startswith(f"{self.path}.") and layer.removeprefix(f"{self.path}.").partition(".")[0].isdigit()


@dataclass(frozen=True)
class StoredPart:
    """A tensor of a checkpoint, or one matrix of a stack, that contains rows of a parameter."""

    name: str
    """With `BLOCK` in place of the number of the block."""
    index: int | None = None
    """Which matrix of the stack; None: the tensor is not a stack."""
    transposed: bool = False
    """Whether the parameter's rows are the columns of the matrix."""

    def of_block(self, block: int) -> "StoredPart":
        """Return the part in a block, with its full name."""
        return replace(self, name=self.name.replace(BLOCK, f".{block}.", 1))


@dataclass(frozen=True)
class BlockArchitecture:
    """The architecture of one kind of block. Paths are relative to the block."""

    inputs: tuple[tuple[str, ...], ...]
    """Groups of layers that read the same input, in the order in which the block runs them."""
    attention: Part | None = None
    feed_forward: Part | None = None
    activation: str | None = None
    """The module whose outputs are the feed-forward neurons; None if there is none."""
    heads: HeadLayout = "unknown"
    transposed: bool = False
    """Whether weights are stored [in, out] (`Conv1D`) instead of [out, in]."""
    n_returned: int | None = None
    """Length of the tuple that the block returns, which starts with the hidden states; None if it returns only them."""
    is_recurrent: bool = False
    """Whether the block's cache has more than keys and values: states of linear attention, convolutions, indexers."""
    dense: tuple[DenseParameter, ...] = ()
    """Parameters of two or more dimensions that stay dense."""
    experts: Experts | None = None
    """The experts that the block chooses from for each token."""
    sublayers: tuple[SubLayer, ...] = ()
    """The sub-layers that can be removed as a whole, in the order in which the block runs them."""
    only_adds: bool = False
    """Whether the block returns the hidden states that it reads plus outputs of its sub-layers, and nothing else."""
    stored: tuple[tuple[str, tuple[tuple[StoredPart, ...], ...]], ...] = ()
    """(parameter relative to the block, the ways in which checkpoints store it), for parameters that checkpoints store
    in another form: the parts of a way, one after the other, are the rows of the parameter."""

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """All prunable layers of the block, in order."""
        return tuple(layer for group in self.inputs for layer in group)

    @cached_property
    def input_names(self) -> tuple[str, ...]:
        """Names of the distinct inputs of the block, in order: each has the path of the first layer that reads it."""
        return tuple(group[0] for group in self.inputs)

    @property
    def after_units(self) -> tuple[str, ...]:
        """The layers that read the outputs of heads and of neurons."""
        return tuple(part.after for part in (self.attention, self.feed_forward) if part is not None)

    def input_of(self, layer: str) -> str:
        """Return the input that a layer reads.

        Raises:
            ModelError: the block has no such layer.
        """
        if layer not in self._input_of_layer:
            raise ModelError("no such layer in a block", got=layer, expected=self.layers)
        return self._input_of_layer[layer]

    @cached_property
    def _input_of_layer(self) -> dict[str, str]:
        return {layer: group[0] for group in self.inputs for layer in group}

    def is_routed(self, layer: str) -> bool:
        """Whether a layer belongs to an expert, so that it reads only the tokens that are routed there."""
        return self.experts is not None and self.experts.has(layer)

    @cached_property
    def ways_of(self) -> dict[str, tuple[tuple[StoredPart, ...], ...]]:
        """Parameter -> the ways in which checkpoints store it, if they store it in another form."""
        return dict(self.stored)


@dataclass(frozen=True)
class Architecture:
    """The architecture of a causal language model. Paths are relative to the model."""

    name: str
    """`model_type` in the config."""
    blocks: str
    """The list of decoder blocks."""
    embeddings: tuple[str, ...]
    """All modules with parameters of their own before the blocks."""
    tail: tuple[str, ...]
    """The modules between the last block and the head, in order; usually one norm."""
    head: str
    """The linear layer from the tail to the vocabulary."""
    kinds: tuple[BlockArchitecture, ...]
    """The kinds of block."""
    kind_of_block: tuple[int, ...]
    """Index in `kinds` of each block."""
    base: str
    """The module whose forward embeds token ids and calls the blocks."""
    has_cache: bool = True
    """Whether `base` keeps keys and values of earlier tokens in the library's cache. Texts run as a whole otherwise."""
    logit_scale: float = 1.0
    """Factor of the outputs of the head."""
    softcap: float | None = None
    """Cap of the logits: cap * tanh(logits / cap); None: no cap."""
    renamed: tuple[tuple[str, str], ...] = ()
    """(name of a tensor in the model, its name in published checkpoints), if the two differ."""
    head_width_key: str | None = None
    """Key of the config for the features of one head; None if they follow from the number of heads."""
    neurons_key: str | None = None
    """Key of the config for the number of neurons; None if it follows from the hidden size."""
    head_attributes: tuple[tuple[str, HeadAttribute], ...] = ()
    """(path of an attribute relative to the block, what it contains), for attributes that depend on the heads that a
    block has and that its forward reads."""
    alibi: str | None = None
    """The module that gets the position biases of all heads, relative to the block; None if there are none."""

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return len(self.kind_of_block)

    def block(self, block: int) -> BlockArchitecture:
        """Return the architecture of one block.

        Raises:
            ModelError: the model has no such block.
        """
        if not 0 <= block < self.n_blocks:
            raise ModelError("no such block in the model", got=block, expected=f"0 to {self.n_blocks - 1}")
        return self.kinds[self.kind_of_block[block]]

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """The prunable layers of all kinds of block, each once, in order."""
        return _distinct(layer for kind in self.kinds for layer in kind.layers)

    @cached_property
    def input_names(self) -> tuple[str, ...]:
        """The names of the inputs of all kinds of block, each once, in order."""
        return _distinct(name for kind in self.kinds for name in kind.input_names)

    @property
    def experts(self) -> "dict[int, Experts]":
        """Block -> its experts, of the blocks that have some."""
        kinds = [self.kinds[kind].experts for kind in self.kind_of_block]
        return {block: experts for block, experts in enumerate(kinds) if experts is not None}

    @property
    def is_recurrent(self) -> bool:
        """Whether a block has a state besides keys and values."""
        return any(kind.is_recurrent for kind in self.kinds)

    @property
    def runs_whole_texts(self) -> bool:
        """Whether a text cannot continue a prefix that has already run, because keys and values are not its state."""
        return self.is_recurrent or not self.has_cache

    @property
    def prefix(self) -> str:
        """Path of the base model, which some checkpoints omit at the start of tensor names."""
        return self.blocks.partition(".")[0]

    @cached_property
    def published_names(self) -> tuple[tuple[str, str], ...]:
        """(name of a tensor in the model, its name in published checkpoints), for all tensors of which they differ."""
        in_blocks = tuple(
            (f"{self.blocks}.{block}.{name}", ways[0][0].of_block(block).name)
            for block in range(self.n_blocks)
            for name, ways in self.block(block).stored
            if len(ways[0]) == 1 and ways[0][0].index is None
        )
        return (*self.renamed, *in_blocks)

    @property
    def after_blocks(self) -> tuple[str, ...]:
        """The modules after the blocks, in order: tail and head."""
        return (*self.tail, self.head)

    def is_after_blocks(self, parameter: str) -> bool:
        """Whether a parameter belongs to the tail or the head."""
        return parameter.startswith(tuple(f"{path}." for path in self.after_blocks))

    def split_name(self, parameter: str) -> tuple[int | None, str]:
        """Split the name of a parameter into its block and the name relative to the block.

        Returns: None for the block, and the whole name, of a parameter outside the blocks.
        """
        number, _, relative = parameter.removeprefix(f"{self.blocks}.").partition(".")
        if not self.is_in_blocks(parameter) or not number.isdigit() or int(number) >= self.n_blocks:
            return None, parameter
        return int(number), relative

    def is_in_blocks(self, parameter: str) -> bool:
        """Whether a parameter or buffer belongs to a block."""
        return parameter.startswith(f"{self.blocks}.")


def oriented(weight: "Tensor", block: BlockArchitecture) -> "Tensor":
    """Return a view of a stored weight as [out, in], so that y = x @ view.T."""
    return weight.T if block.transposed else weight


def as_returned(hidden: "Tensor", n_returned: int | None) -> "Tensor | tuple[Tensor | None, ...]":
    """Return hidden states in the form in which a block returns them; see `BlockArchitecture.n_returned`."""
    return hidden if n_returned is None else (hidden, *[None] * (n_returned - 1))


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
