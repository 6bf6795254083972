"""The architecture of a model: its blocks, the layers in each block, and the modules around the blocks.

An architecture is discovered (`discovery.py`); all other modules work with blocks, layers and inputs, and never with a
model class. Modules are named by their dotted paths.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from mlprune.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

HeadLayout = Literal["blocked", "interleaved", "joined", "unknown"]
"""Rows of the query, key and value projections. `blocked`: all queries, all keys, all values. `interleaved`: query, key
and value of the first head, of the second head and so on. `joined`: as blocked, with a norm over all heads together
after the projection."""
HeadAttribute = Literal["heads", "groups", "width"]
"""`heads`: number of query heads. `groups`: of key heads. `width`: features of all query heads together."""


@dataclass(frozen=True)
class Part:
    """Attention or the feed-forward part of a block. Paths are relative to the block."""

    before: tuple[str, ...]
    """Layers before the units: query, key and value projections, or the layers before the activation."""
    after: str
    """The layer that reads the outputs of all units."""


@dataclass(frozen=True)
class DenseParameter:
    """A parameter of two or more dimensions that is not pruned."""

    name: str
    """Relative to the block."""
    shape: tuple[int, ...]
    reason: str


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
        for group in self.inputs:
            if layer in group:
                return group[0]
        raise ModelError("no such layer in a block", got=layer, expected=self.layers)


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
    joined: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(name of a tensor in the model, names of the pieces in published checkpoints that it joins along dimension 0)."""
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
    def is_recurrent(self) -> bool:
        """Whether a block has a state besides keys and values."""
        return any(kind.is_recurrent for kind in self.kinds)

    @property
    def prefix(self) -> str:
        """Path of the base model, which some checkpoints omit at the start of tensor names."""
        return self.blocks.partition(".")[0]

    @property
    def after_blocks(self) -> tuple[str, ...]:
        """The modules after the blocks, in order: tail and head."""
        return (*self.tail, self.head)

    def is_after_blocks(self, parameter: str) -> bool:
        """Whether a parameter belongs to the tail or the head."""
        return parameter.startswith(tuple(f"{path}." for path in self.after_blocks))

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
