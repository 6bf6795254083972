"""Llama 4's experts as the library's stacks: its mixture multiplies the inputs of an expert, and not its outputs.

Every token chooses one expert there. Its input times the gate weight is what the expert reads, and the gate weight of
the outputs is 1. The mixture itself calls all experts for all tokens, with inputs of 0 for those that are not chosen.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

_MIXTURE = "Llama4TextMoe"


def prepare_scaled_experts(model: nn.Module) -> None:
    """Let mixtures of experts whose inputs are scaled call their experts as the library's other mixtures do.

    Mixtures in which a token chooses several experts stay as they are, and are refused.
    """
    for module in model.modules():
        if type(module).__name__ == _MIXTURE and module.top_k == 1:
            experts: Any = module.experts
            marks = {"has_gate": True, "has_bias": False, "is_transposed": True, "is_concatenated": True}
            vars(experts).update(marks, has_post_expert_norm=False, _apply_gate=partial(_apply_gate, experts))
            vars(module)["forward"] = partial(_run_mixture, module)


def _apply_gate(experts: Any, values: Tensor) -> Tensor:
    """Return the features [n, neurons] from the outputs [n, 2 * neurons] of the first layer."""
    gate, up = values.chunk(2, dim=-1)
    features: Tensor = up * experts.act_fn(gate)
    return features


def _run_mixture(mixture: Any, hidden_states: Tensor) -> tuple[Tensor, Tensor]:
    """Replace the forward of a mixture; returns its outputs [t, d] and the logits of the router [t, experts]."""
    hidden = hidden_states.reshape(-1, mixture.hidden_dim)
    scores, logits = mixture.router(hidden)
    chosen = logits.argmax(dim=1, keepdim=True)
    gates = scores.gather(1, chosen)
    routed = mixture.experts(hidden * gates, chosen, torch.ones_like(gates))
    return mixture.shared_expert(hidden) + routed, logits
