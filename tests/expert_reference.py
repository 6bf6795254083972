"""Mixtures of experts as plain float64 loops over tokens and experts, with some experts left out."""

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

Removed = Mapping[int, Collection[int]]
"""Block -> its experts that are removed."""


def routed(model_type: str, router: Any, config: Any, token: Tensor, removed: Collection[int]) -> dict[int, float]:
    """Return expert -> gate weight of one token [d], of a router that never sees the removed experts."""
    kept = [expert for expert in range(len(router.weight)) if expert not in removed]
    bias = getattr(router, "bias", None)
    logits = {e: float(router.weight[e] @ token) + (0.0 if bias is None else float(bias[e])) for e in kept}
    if model_type in ("gpt_oss", "granitemoe", "cohere2_moe"):
        chosen = _largest(logits, config.num_experts_per_tok)
        if getattr(config, "expert_selection_fn", "softmax") == "softmax":
            return _softmax({e: logits[e] for e in chosen})
        gates = {e: 1 / (1 + 2.718281828459045 ** -logits[e]) for e in chosen}
        return _normalised(gates) if config.norm_topk_prob else gates
    if model_type == "deepseek_v3":
        scores = {e: 1 / (1 + 2.718281828459045 ** -logits[e]) for e in kept}
        choice = {e: scores[e] + float(router.e_score_correction_bias[e]) for e in kept}
        size = len(router.weight) // config.n_group
        by_group = {g: sorted((choice[e] for e in kept if e // size == g), reverse=True) for g in range(config.n_group)}
        ranked = {group: sum(best[:2]) for group, best in by_group.items() if len(best) >= 2}
        groups = _largest(ranked, config.topk_group)
        chosen = _largest({e: choice[e] for e in kept if e // size in groups}, config.num_experts_per_tok)
        gates = {e: scores[e] for e in chosen}
        gates = _normalised(gates) if config.norm_topk_prob else gates
        return {e: gate * config.routed_scaling_factor for e, gate in gates.items()}
    shares = _softmax(logits)
    gates = {e: shares[e] for e in _largest(shares, config.num_experts_per_tok)}
    return _normalised(gates) if getattr(config, "norm_topk_prob", True) else gates


def _largest(values: Mapping[int, float], n: int) -> list[int]:
    return sorted(values, key=lambda key: -values[key])[:n]


def _normalised(values: Mapping[int, float]) -> dict[int, float]:
    return {key: value / sum(values.values()) for key, value in values.items()}


def _softmax(values: Mapping[int, float]) -> dict[int, float]:
    return _normalised({key: 2.718281828459045 ** (value - max(values.values())) for key, value in values.items()})


def plain_expert(experts: Any, expert: int, token: Tensor) -> Tensor:
    """Return the output [d] of one expert for one token [d], before its gate weight."""

    def product(name: str, values: Tensor) -> Tensor:
        matrix, bias = getattr(experts, name)[expert], getattr(experts, f"{name}_bias", None)
        product = (matrix.T if experts.is_transposed else matrix) @ values
        return product if bias is None else product + bias[expert]

    return product("down_proj", experts._apply_gate(product("gate_up_proj", token)[None])[0])


def plain_logits(model_type: str, model: Any, token_ids: Tensor, removed: Removed) -> Tensor:
    """Return the logits [b, s, v] in float64 of a model whose routers choose among the experts that remain.

    Args:
        model: a float64 model of transformers; its modules of experts are replaced.
        token_ids: [b, s] int64, without padding.
    """
    for block, layer in enumerate(model.base_model.layers):
        for module in layer.modules():
            if hasattr(module, "experts") and hasattr(module.experts, "down_proj"):
                _replace(model_type, module, model.config, removed.get(block, ()))
    with torch.no_grad():
        logits: Tensor = model(token_ids, use_cache=False).logits
    return logits


def _replace(model_type: str, module: Any, config: Any, removed: Collection[int]) -> None:
    router = module.router if hasattr(module, "router") else module.gate
    seen: list[Tensor] = []

    def see(_: Any, args: tuple[Tensor, ...]) -> None:
        seen.append(args[0].reshape(-1, args[0].shape[-1]))

    def run(hidden: Tensor, *_: Tensor) -> Tensor:
        tokens, result = seen.pop(), torch.zeros_like(hidden)
        for row, token in enumerate(hidden):
            for expert, gate in routed(model_type, router, config, tokens[row], removed).items():
                result[row] += gate * plain_expert(module.experts, expert, token)
        return result

    router.register_forward_pre_hook(see)
    module.experts.forward = run
