"""Turn the embedded model into a mixture of experts, from which training continues.

The experts are those of GPT-OSS, the one type of the model library whose experts and attention have the biases of an
XGLM: the gate of an expert has half of the neurons of the embedded model's feed-forward, drawn at random (its
x * sigmoid(1.702 x) approximates GELU), and the other factor of its product is 1 at first. Layer norms become RMS
norms: everything that is added to the hidden states is centred, and the biases of the norms move into the layers that
read them. Two things are lost and have to be learnt again: positions, which rotate queries and keys here, and the bias
of the last norm.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import GptOssConfig, GptOssForCausalLM, XGLMForCausalLM

TOP_K = 2
_NO_SINK = -30.0
"""Attention sink without effect."""


def upcycle(dense: XGLMForCausalLM, *, n_experts: int, seed: int) -> GptOssForCausalLM:
    """Return a mixture of `n_experts` random halves of every feed-forward, of which a token chooses `TOP_K`.

    Routers are random.
    """
    old = dense.config
    config = GptOssConfig(
        vocab_size=old.vocab_size,
        hidden_size=old.d_model,
        intermediate_size=old.ffn_dim // 2,
        num_hidden_layers=old.num_layers,
        num_attention_heads=old.attention_heads,
        num_key_value_heads=old.attention_heads,
        head_dim=old.d_model // old.attention_heads,
        num_local_experts=n_experts,
        num_experts_per_tok=TOP_K,
        max_position_embeddings=old.max_position_embeddings,
        layer_types=["full_attention"] * old.num_layers,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        tie_word_embeddings=True,
        pad_token_id=old.pad_token_id,
        bos_token_id=old.bos_token_id,
        eos_token_id=old.eos_token_id,
    )
    torch.manual_seed(seed)
    model = GptOssForCausalLM(config)
    with torch.no_grad():
        _carry_over(dense, model)
    return model


def _carry_over(dense: Any, model: Any) -> None:
    """Set the weights of the mixture from those of the dense model."""
    scale = dense.config.d_model**0.5
    embeddings = dense.model.embed_tokens.weight
    model.model.embed_tokens.weight.copy_(_centred(scale * embeddings))
    model.model.norm.weight.copy_(dense.model.layer_norm.weight / scale)
    for old, new in zip(dense.model.layers, model.model.layers, strict=True):
        norm, attention = old.self_attn_layer_norm, new.self_attn
        new.input_layernorm.weight.fill_(1.0)
        for name in ("q_proj", "k_proj", "v_proj"):
            _read(getattr(old.self_attn, name), norm, into=getattr(attention, name))
        attention.o_proj.weight.copy_(_centred(old.self_attn.out_proj.weight.T).T)
        attention.o_proj.bias.copy_(_centred(old.self_attn.out_proj.bias))
        attention.sinks.fill_(_NO_SINK)
        new.post_attention_layernorm.weight.fill_(1.0)
        _copy_feed_forward(old, new.mlp)


def _read(layer: nn.Linear, norm: nn.LayerNorm, *, into: nn.Linear) -> None:
    """Copy a layer that reads normalised hidden states, with the weight and bias of the norm in it."""
    into.weight.copy_(layer.weight * norm.weight)
    into.bias.copy_(layer.bias + layer.weight @ norm.bias)


def _copy_feed_forward(old: Any, mixture: Any) -> None:
    experts, norm = mixture.experts, old.final_layer_norm
    first = nn.Linear(old.fc1.in_features, old.fc1.out_features)
    _read(old.fc1, norm, into=first)
    experts.gate_up_proj.zero_()
    experts.gate_up_proj_bias.zero_()
    for expert in range(experts.num_experts):
        half = torch.randperm(old.fc1.out_features)[: experts.intermediate_size]
        experts.gate_up_proj[expert, :, ::2] = first.weight[half].T
        experts.gate_up_proj_bias[expert, ::2] = first.bias[half]
        experts.down_proj[expert] = 2 * _centred(old.fc2.weight[:, half].T)
        experts.down_proj_bias[expert] = _centred(old.fc2.bias)
    mixture.router.weight.normal_(std=old.fc1.in_features**-0.5)
    mixture.router.bias.zero_()


def _centred(values: Tensor) -> Tensor:
    """Subtract the mean over the last dimension, that of the hidden states."""
    return values - values.mean(dim=-1, keepdim=True)
