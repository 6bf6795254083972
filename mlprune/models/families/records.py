"""Records of the model families: one frozen record per `model_type`.

Every record was checked against the code of transformers (module paths, return value of a block, order of its layers),
and each model is checked against its record when it is built. docs/models.md explains how to add a record.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from mlprune.errors import ModelError

HeadAttribute = Literal["heads", "groups", "width"]
"""`heads`: number of query heads. `groups`: of key heads. `width`: features of all query heads together."""
HeadLayout = Literal["blocked", "interleaved", "joined"]
"""`blocked`: all queries, all keys, all values. `interleaved`: query, key and value of the first head, of the second
head and so on. `joined`: as blocked, with a norm over all heads together after the projection."""


@dataclass(frozen=True)
class Family:
    """Structure of all models of one type. Modules are named by their dotted paths."""

    name: str
    """`model_type` in the config."""
    blocks: str
    """The list of decoder blocks, relative to the causal language model."""
    final_norm: str
    """The norm after the last block, relative to the causal language model."""
    head: str
    """The linear layer from the final norm to the vocabulary, relative to the causal language model."""
    embeddings: tuple[str, ...]
    """All modules with parameters before the blocks, relative to the causal language model."""
    inputs: tuple[tuple[str, ...], ...]
    """Groups of layers that read the same input, in the order in which a block runs them, relative to the block."""
    activation: str
    """The activation function, whose outputs are the feed-forward neurons, relative to the block."""
    transposed: bool = False
    """Whether weights are stored [in, out] (`Conv1D`) instead of [out, in]."""
    block_returns_tuple: bool = False
    """Whether a block returns a tuple that starts with the hidden states, instead of the hidden states."""
    renamed: tuple[tuple[str, str], ...] = ()
    """(name of a tensor in the model, its name in published checkpoints), if the two differ."""
    heads: HeadLayout = "blocked"
    """Rows of the query, key and value projections."""
    head_width_key: str | None = None
    """Key of the config for the features of one head; None if they follow from the number of heads."""
    neurons_key: str | None = "intermediate_size"
    """Key of the config for the number of neurons; None if it follows from the hidden size."""
    head_attributes: tuple[tuple[str, HeadAttribute], ...] = ()
    """(path of an attribute relative to the block, what it contains), for attributes that depend on the heads that a
    block has and that its forward reads."""
    alibi: str | None = None
    """The module that gets the position biases of all heads, relative to the block; None if there are none."""

    @property
    def layers(self) -> tuple[str, ...]:
        """All prunable layers of a block, in order."""
        return tuple(layer for group in self.inputs for layer in group)

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the distinct inputs of a block, in order: each has the path of the first layer that reads it."""
        return tuple(group[0] for group in self.inputs)

    @property
    def base(self) -> str:
        """The module whose forward calls the blocks, relative to the causal language model."""
        return self.blocks.rpartition(".")[0]

    @property
    def prefix(self) -> str:
        """Path of the base model, which some checkpoints omit at the start of tensor names."""
        return self.blocks.partition(".")[0]

    @property
    def feed_forward(self) -> tuple[tuple[str, ...], str]:
        """The layers before the feed-forward neurons and the layer after them, which read the last two inputs."""
        return self.inputs[-2], self.inputs[-1][0]

    def input_of(self, layer: str) -> str:
        """Return the input that a layer reads.

        Raises:
            ModelError: the family has no such layer.
        """
        for group in self.inputs:
            if layer in group:
                return group[0]
        raise ModelError("no such layer in a block", family=self.name, got=layer, expected=self.layers)


def _gated(name: str) -> Family:
    """Return a model with the structure of LLaMA: rotary positions, gated feed-forward, RMS norms of one dimension."""
    return Family(
        name=name,
        blocks="model.layers",
        final_norm="model.norm",
        head="lm_head",
        embeddings=("model.embed_tokens",),
        inputs=(
            ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
            ("self_attn.o_proj",),
            ("mlp.gate_proj", "mlp.up_proj"),
            ("mlp.down_proj",),
        ),
        activation="mlp.act_fn",
        head_width_key="head_dim",
    )


_ATTENTION_THEN_TWO_LAYERS = (
    ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    ("self_attn.out_proj",),
    ("fc1",),
    ("fc2",),
)
_HEADS_AND_WIDTH: tuple[tuple[str, HeadAttribute], ...] = (
    ("self_attn.num_heads", "heads"),
    ("self_attn.embed_dim", "width"),
)

FAMILIES: Mapping[str, Family] = {
    "xglm": Family(
        name="xglm",
        blocks="model.layers",
        final_norm="model.layer_norm",
        head="lm_head",
        embeddings=("model.embed_tokens",),
        inputs=_ATTENTION_THEN_TWO_LAYERS,
        activation="activation_fn",
        neurons_key="ffn_dim",
        head_attributes=_HEADS_AND_WIDTH,
    ),
    "gpt2": Family(
        name="gpt2",
        blocks="transformer.h",
        final_norm="transformer.ln_f",
        head="lm_head",
        embeddings=("transformer.wte", "transformer.wpe"),
        inputs=(("attn.c_attn",), ("attn.c_proj",), ("mlp.c_fc",), ("mlp.c_proj",)),
        activation="mlp.act",
        transposed=True,
        neurons_key="n_inner",
        head_attributes=(("attn.num_heads", "heads"), ("attn.split_size", "width")),
    ),
    "bloom": Family(
        name="bloom",
        blocks="transformer.h",
        final_norm="transformer.ln_f",
        head="lm_head",
        embeddings=("transformer.word_embeddings", "transformer.word_embeddings_layernorm"),
        inputs=(
            ("self_attention.query_key_value",),
            ("self_attention.dense",),
            ("mlp.dense_h_to_4h",),
            ("mlp.dense_4h_to_h",),
        ),
        activation="mlp.gelu_impl",
        block_returns_tuple=True,
        heads="interleaved",
        neurons_key=None,
        head_attributes=(("self_attention.num_heads", "heads"),),
        alibi="self_attention",
    ),
    "llama": _gated("llama"),
    "mistral": _gated("mistral"),
    "qwen2": _gated("qwen2"),
    "qwen3": _gated("qwen3"),
    "gemma": _gated("gemma"),
    "gemma2": _gated("gemma2"),
    "gemma3_text": _gated("gemma3_text"),
    "olmo2": replace(_gated("olmo2"), heads="joined"),
    "smollm3": _gated("smollm3"),
    "phi3": Family(
        name="phi3",
        blocks="model.layers",
        final_norm="model.norm",
        head="lm_head",
        embeddings=("model.embed_tokens",),
        inputs=(("self_attn.qkv_proj",), ("self_attn.o_proj",), ("mlp.gate_up_proj",), ("mlp.down_proj",)),
        activation="mlp.activation_fn",
        head_width_key="head_dim",
        head_attributes=(
            ("self_attn.config.num_attention_heads", "heads"),
            ("self_attn.num_key_value_heads", "groups"),
        ),
    ),
    "opt": Family(
        name="opt",
        blocks="model.decoder.layers",
        final_norm="model.decoder.final_layer_norm",
        head="lm_head",
        embeddings=("model.decoder.embed_tokens", "model.decoder.embed_positions"),
        inputs=_ATTENTION_THEN_TWO_LAYERS,
        activation="activation_fn",
        neurons_key="ffn_dim",
        head_attributes=_HEADS_AND_WIDTH,
    ),
    "gpt_neox": Family(
        name="gpt_neox",
        blocks="gpt_neox.layers",
        final_norm="gpt_neox.final_layer_norm",
        head="lm_head",
        embeddings=("gpt_neox.embed_in",),
        inputs=(("attention.query_key_value",), ("attention.dense",), ("mlp.dense_h_to_4h",), ("mlp.dense_4h_to_h",)),
        activation="mlp.act",
        renamed=(("lm_head.weight", "embed_out.weight"),),
        heads="interleaved",
    ),
}
"""`model_type` -> family. mGPT is a GPT-2; SmolLM2, Yi and many others are LLaMA models; Pythia is a GPT-NeoX.

Phi-3 stores q, k and v as one matrix, and gate and up projection as another; each counts as one layer, like q, k and v
of BLOOM and GPT-NeoX. The parallel residual of GPT-NeoX changes what a layer reads, not the record.
"""
