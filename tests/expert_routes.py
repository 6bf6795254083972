"""Routing of a mixture of experts by plain loops, from hooks on the modules of the model library."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mlprune.models.experts import is_stack


@dataclass
class Routed:
    """Tokens that one expert gets."""

    tokens: list[int] = field(default_factory=list)
    """Places in the text."""
    gates: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    """Of the outputs, before they are multiplied by the gates."""


def routed(model: Any, token_ids: Sequence[int]) -> list[list[Routed]]:
    """Return, per block with experts, what each expert does for the tokens of a text that runs alone.

    The outputs of experts are computed in float64 from what the module of experts reads.
    """
    blocks: list[list[Routed]] = []

    def observe(module: Any, args: tuple[Tensor, Tensor, Tensor], _result: Tensor) -> None:
        hidden, index, weights = args
        n_experts = (module.gate_up_proj if module.has_gate else module.up_proj).shape[0]
        experts = [Routed() for _ in range(n_experts)]
        for token in range(hidden.shape[0]):
            for place in range(index.shape[1]):
                own = experts[int(index[token, place])]
                own.tokens.append(token)
                own.gates.append(float(weights[token, place]))
                output = _output(module, int(index[token, place]), hidden[token].double())
                own.norms.append(float(output.square().sum().sqrt()))
        blocks.append(experts)

    handles = [module.register_forward_hook(observe) for module in model.modules() if is_stack(module)]
    try:
        with torch.no_grad():
            model(input_ids=torch.tensor([list(token_ids)]), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return blocks


def _output(module: Any, expert: int, token: Tensor) -> Tensor:
    """Return the output of one expert for one token [d], float64."""
    up, down = module.gate_up_proj[expert].double(), module.down_proj[expert].double()
    up, down = (up.T, down.T) if module.is_transposed else (up, down)
    features = up @ token
    if module.has_bias:
        features = features + module.gate_up_proj_bias[expert].double()
    output = down @ module._apply_gate(features[None])[0]
    return output + module.down_proj_bias[expert].double() if module.has_bias else output
