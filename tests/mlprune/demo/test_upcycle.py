"""The mixture of experts that is made from the embedded model."""

import torch
from transformers import XGLMConfig, XGLMForCausalLM

from mlprune.demo.upcycle import TOP_K, upcycle


def tiny_xglm() -> XGLMForCausalLM:
    torch.manual_seed(0)
    sizes = {"vocab_size": 40, "d_model": 16, "ffn_dim": 24, "num_layers": 2, "attention_heads": 2}
    model = XGLMForCausalLM(XGLMConfig(**sizes, max_position_embeddings=32, pad_token_id=0, dropout=0.0)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        embeddings = model.model.embed_tokens.weight
        embeddings.sub_(embeddings.mean(dim=1, keepdim=True))  # the head shares them
        model.model.layer_norm.bias.zero_()
        model.model.embed_positions.weights.zero_()
    return model


def test_attention_embeddings_and_norms_are_carried_over_but_for_positions_and_the_last_bias() -> None:
    """Texts of one token have no positions to rotate; the feed-forward is left out of both models."""
    dense = tiny_xglm()
    with torch.no_grad():
        for layer in dense.model.layers:
            layer.fc2.weight.zero_()
        model = upcycle(dense, n_experts=4, seed=0).eval()
        tokens = torch.arange(3, 40)[:, None]
        old, new = (one(input_ids=tokens, use_cache=False).logits for one in (dense, model))
    torch.testing.assert_close(new, old, rtol=1e-3, atol=1e-3)


def test_every_expert_has_another_half_of_the_neurons() -> None:
    dense = tiny_xglm()
    model = upcycle(dense, n_experts=4, seed=0)
    experts, feed_forward = model.model.layers[0].mlp.experts, dense.model.layers[0]
    assert experts.gate_up_proj.shape == (4, 16, 24)
    assert model.config.num_experts_per_tok == TOP_K
    halves = []
    for expert in range(4):
        written = feed_forward.fc2.weight - feed_forward.fc2.weight.mean(dim=0)
        distances = torch.cdist(experts.down_proj[expert].detach(), 2 * written.T.detach())
        assert torch.all(distances.min(dim=1).values < 1e-4)
        halves.append(frozenset(distances.argmin(dim=1).tolist()))
        assert not experts.gate_up_proj[expert, :, 1::2].any()
    assert len(set(halves)) == 4
    assert {len(half) for half in halves} == {12}
