"""The records of the model families: one frozen record a `model_type`, and what a record says.

Every record was held against the code of transformers it describes (module paths, what a block returns, the order in
which it runs its layers) and is held against the model again whenever one is loaded: `families.py`. docs/models.md
says how to add one.
"""

from collections.abc import Mapping
from dataclasses import dataclass

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
    """The map to the vocabulary, a linear layer that reads the final norm, from the causal language model."""
    embeddings: tuple[str, ...]
    """All that stands before the blocks and has parameters, from the causal language model."""
    inputs: tuple[tuple[str, ...], ...]
    """Groups of layers that read one input, in the order in which a block runs them; paths start at the block."""
    activation: str
    """The module whose output the feed-forward neurons are, from the block: behind it a neuron fires or does not."""
    transposed: bool = False
    """Whether weights are stored [in, out] (`Conv1D`) instead of [out, in]."""
    block_returns_tuple: bool = False
    """Whether a block returns a tuple that starts with the hidden states, or the hidden states alone."""
    renamed: tuple[tuple[str, str], ...] = ()
    """(name of a tensor in the model, name it has in published checkpoints), where the two differ."""

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
        """The module whose forward calls the blocks, from the causal language model."""
        return self.blocks.rpartition(".")[0]

    @property
    def prefix(self) -> str:
        """What some checkpoints leave out in front of their tensors' names: the path of the model below the head."""
        return self.blocks.partition(".")[0]

    @property
    def feed_forward(self) -> tuple[tuple[str, ...], str]:
        """The layers through which a block's neurons read, and the one that reads them: its last two inputs."""
        return self.inputs[-2], self.inputs[-1][0]

    def input_of(self, layer: str) -> str:
        """The input that a layer reads.

        Raises:
            ModelError: the family has no such layer.
        """
        for group in self.inputs:
            if layer in group:
                return group[0]
        raise ModelError("no such layer in a block", family=self.name, got=layer, expected=self.layers)


def _gated(name: str) -> Family:
    """A model built as LLaMA is: rotary positions, a gated feed-forward, RMS norms of one dimension."""
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
    )


_ATTENTION_THEN_TWO_LAYERS = (
    ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    ("self_attn.out_proj",),
    ("fc1",),
    ("fc2",),
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
    ),
    "llama": _gated("llama"),
    "mistral": _gated("mistral"),
    "qwen2": _gated("qwen2"),
    "qwen3": _gated("qwen3"),
    "gemma": _gated("gemma"),
    "gemma2": _gated("gemma2"),
    "gemma3_text": _gated("gemma3_text"),
    "olmo2": _gated("olmo2"),
    "smollm3": _gated("smollm3"),
    "phi3": Family(
        name="phi3",
        blocks="model.layers",
        final_norm="model.norm",
        head="lm_head",
        embeddings=("model.embed_tokens",),
        inputs=(("self_attn.qkv_proj",), ("self_attn.o_proj",), ("mlp.gate_up_proj",), ("mlp.down_proj",)),
        activation="mlp.activation_fn",
    ),
    "opt": Family(
        name="opt",
        blocks="model.decoder.layers",
        final_norm="model.decoder.final_layer_norm",
        head="lm_head",
        embeddings=("model.decoder.embed_tokens", "model.decoder.embed_positions"),
        inputs=_ATTENTION_THEN_TWO_LAYERS,
        activation="activation_fn",
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
    ),
}
"""`model_type` of a config to its family. mGPT is a GPT-2; SmolLM2, Yi and many others are LLaMAs; Pythia is GPT-NeoX.

Phi-3 stores q, k and v as one matrix, and the two maps that its gate multiplies as another: each is one layer here, as
BLOOM's and GPT-NeoX's q, k and v are. GPT-NeoX's parallel residual changes what a layer reads, not the record.
"""
