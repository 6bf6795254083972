"""Model families: where the blocks of a decoder are, which of their layers are prunable, and how a weight is stored.

One record per `model_type`; everything else in this project speaks of blocks, layers and inputs and never of a model
class. A new family is one more record in `FAMILIES`. Loading and running belong to the neighbours.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from mlprune.errors import ModelError


@dataclass(frozen=True)
class Family:
    """What the models of one type have in common. Paths are module paths with dots."""

    name: str
    """`model_type` in the config."""
    blocks: str
    """The list of decoder blocks, from the causal language model."""
    final_norm: str
    """The norm behind the last block, from the causal language model."""
    head: str
    """The map to the vocabulary, from the causal language model."""
    inputs: tuple[tuple[str, ...], ...]
    """Groups of layers that read one input, in the order in which a block runs them; paths start at the block."""
    transposed: bool = False
    """Whether weights are stored [in, out] (`Conv1D`) instead of [out, in]."""
    block_returns_tuple: bool = False
    """Whether a block returns a tuple that starts with the hidden states, or the hidden states alone."""

    @property
    def layers(self) -> tuple[str, ...]:
        """All prunable layers of a block, in order."""
        return tuple(layer for group in self.inputs for layer in group)

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the distinct inputs of a block, in order: each is the path of the first layer that reads it."""
        return tuple(group[0] for group in self.inputs)

    @property
    def base(self) -> str:
        """The model below the head, from the causal language model; also the prefix some checkpoints leave out."""
        return self.blocks.rpartition(".")[0]

    def input_of(self, layer: str) -> str:
        """The input that a layer reads.

        Raises:
            ModelError: the family has no such layer.
        """
        for group in self.inputs:
            if layer in group:
                return group[0]
        raise ModelError("no such layer in a block", family=self.name, got=layer, expected=self.layers)


FAMILIES: Mapping[str, Family] = {
    "xglm": Family(
        name="xglm",
        blocks="model.layers",
        final_norm="model.layer_norm",
        head="lm_head",
        inputs=(
            ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
            ("self_attn.out_proj",),
            ("fc1",),
            ("fc2",),
        ),
    ),
    "gpt2": Family(
        name="gpt2",
        blocks="transformer.h",
        final_norm="transformer.ln_f",
        head="lm_head",
        inputs=(("attn.c_attn",), ("attn.c_proj",), ("mlp.c_fc",), ("mlp.c_proj",)),
        transposed=True,
    ),
    "bloom": Family(
        name="bloom",
        blocks="transformer.h",
        final_norm="transformer.ln_f",
        head="lm_head",
        inputs=(
            ("self_attention.query_key_value",),
            ("self_attention.dense",),
            ("mlp.dense_h_to_4h",),
            ("mlp.dense_4h_to_h",),
        ),
        block_returns_tuple=True,
    ),
}
"""`model_type` of a config to its family. mGPT is a GPT-2."""


def family_of(model_type: str) -> Family:
    """The family of a model type.

    Raises:
        ModelError: there is no record for it.
    """
    family = FAMILIES.get(model_type)
    if family is None:
        nearest = difflib.get_close_matches(str(model_type), FAMILIES, n=1)
        context = {"nearest": nearest[0]} if nearest else {}
        message = "unknown model type: it needs a record in mlprune/models/families.py"
        raise ModelError(message, got=model_type, known=sorted(FAMILIES), **context)
    return family


def oriented(weight: Tensor, family: Family) -> Tensor:
    """A view of a stored weight as [out, in], so that y = x @ view.T."""
    return weight.T if family.transposed else weight


def check_layers(block_module: nn.Module, family: Family, *, block: int) -> None:
    """Hold a block against its family's record, so that no linear map stays unpruned without a word.

    Raises:
        ModelError: the block has a linear map that the record does not list, or lacks one that it lists.
    """
    found = {name for name, module in block_module.named_modules() if isinstance(module, nn.Linear | Conv1D)}
    unlisted, missing = sorted(found - set(family.layers)), sorted(set(family.layers) - found)
    if unlisted:
        message = "a block has linear maps that its record in mlprune/models/families.py does not list"
        raise ModelError(message, family=family.name, block=block, got=unlisted, expected=family.layers)
    if missing:
        raise ModelError("a block lacks layers of its family", family=family.name, block=block, missing=missing)
