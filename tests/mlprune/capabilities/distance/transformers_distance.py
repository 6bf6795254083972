"""The measures of a distance from two transformers models, token by token in float64."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def expected_measures(dense: Any, variant: Any, ids: Sequence[int], *, n_context: int = 1) -> dict[str, float]:
    """Return the sums over the tokens of a text after its context."""
    log_p, log_q = log_softmax(dense, ids), log_softmax(variant, ids)
    rows = range(n_context - 1, len(ids) - 1)
    divergences = [
        math.fsum(
            math.exp(p) * (p - q) - math.exp(p) + math.exp(q)
            for p, q in zip(log_p[row].tolist(), log_q[row].tolist(), strict=True)
        )
        for row in rows
    ]
    changes = [abs(float(log_p[row, ids[row + 1]] - log_q[row, ids[row + 1]])) for row in rows]
    tops = [float(int(log_p[row].argmax()) == int(log_q[row].argmax())) for row in rows]
    return {
        "divergence": math.fsum(divergences),
        "log_prob_change": math.fsum(changes),
        "n_top_agreed": math.fsum(tops),
        "removed_mass": 0.0,
    }


def log_softmax(model: Any, ids: Sequence[int]) -> Tensor:
    """[tokens - 1, vocabulary] float64 log-probabilities of the next token."""
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([list(ids)]), use_cache=False).logits[0, :-1].double()
    return logits.log_softmax(dim=-1)
