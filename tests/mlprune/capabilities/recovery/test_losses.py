"""Losses of a text and their gradients, compared with plain float64 loops and float64 gradients of torch."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from mlprune.capabilities.recovery import losses as module
from mlprune.capabilities.recovery.losses import text_losses
from mlprune.capabilities.recovery.settings import Recovery
from mlprune.numeric.log_probs import OutputHead

HEADS: dict[str, dict[str, Any]] = {
    "plain": {},
    "biased": {"bias": torch.linspace(-1, 1, 30)},
    "scaled": {"scale": 0.3},
    "capped": {"softcap": 1.5, "scale": 2.0},
    "removed": {"removed": torch.arange(30) % 3 == 1},
}


def drawn(seed: int) -> tuple[Tensor, Tensor, OutputHead, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    hidden, dense = (torch.randn(7, 6, generator=draw) for _ in range(2))
    head = OutputHead(torch.randn(30, 6, generator=draw))
    targets = 3 * torch.randint(0, 10, (7,), generator=draw)  # none of them is removed
    return hidden, dense, head, targets


def log_probs(hidden: Tensor, head: OutputHead) -> list[list[float]]:
    """Log-probabilities of the kept tokens of each state, in float64 loops; minus infinity for the others."""
    found = []
    for state in hidden.double().tolist():
        logits = []
        for token, row in enumerate(head.weight.double().tolist()):
            bias = 0.0 if head.bias is None else float(head.bias[token])
            logit = head.scale * (sum(a * b for a, b in zip(state, row, strict=True)) + bias)
            logit = logit if head.softcap is None else head.softcap * math.tanh(logit / head.softcap)
            logits.append(-math.inf if head.removed is not None and bool(head.removed[token]) else logit)
        total = math.log(math.fsum(map(math.exp, logits)))
        found.append([logit - total for logit in logits])
    return found


def kullback_leibler(first: list[float], second: list[float]) -> float:
    pairs = zip(first, second, strict=True)
    return math.fsum(math.exp(a) * (a - b) for a, b in pairs if a > -math.inf)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("divergence", ["forward", "reverse"])
def test_losses_are_those_of_float64_loops(name: str, divergence: Any) -> None:
    hidden, dense, head, targets = drawn(1)
    head = replace(head, **HEADS[name])
    settings = Recovery(divergence=divergence)
    found = text_losses(hidden, dense, head, targets=targets, settings=settings, with_gradient=False)
    p, q = log_probs(dense, head), log_probs(hidden, head)
    pairs = zip(p, q, strict=True) if divergence == "forward" else zip(q, p, strict=True)
    assert found.divergence == pytest.approx(math.fsum(kullback_leibler(*pair) for pair in pairs), rel=1e-5)
    expected = -math.fsum(row[target] for row, target in zip(q, targets.tolist(), strict=True))
    assert found.cross_entropy == pytest.approx(expected, rel=1e-5)
    assert (found.n_positions, found.gradient) == (7, None)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize(("divergence", "text_share"), [("forward", 0.0), ("forward", 0.5), ("reverse", 2.0)])
def test_gradients_are_those_of_torch_in_float64(name: str, divergence: Any, text_share: float) -> None:
    hidden, dense, head, targets = drawn(2)
    head = replace(head, **HEADS[name])
    settings = Recovery(divergence=divergence, text_share=text_share)
    found = text_losses(hidden, dense, head, targets=targets, settings=settings, with_gradient=True)

    def logits(states: Tensor) -> Tensor:
        bias = 0 if head.bias is None else head.bias.double()
        outputs = head.scale * (states @ head.weight.double().T + bias)
        outputs = outputs if head.softcap is None else head.softcap * torch.tanh(outputs / head.softcap)
        return outputs if head.removed is None else outputs[:, ~head.removed]

    wide = hidden.double().requires_grad_()
    log_p, log_q = (torch.log_softmax(logits(states), dim=1) for states in (dense.double(), wide))
    first, second = (log_p, log_q) if divergence == "forward" else (log_q, log_p)
    kept = torch.arange(30) if head.removed is None else (~head.removed).nonzero().flatten()
    places = torch.searchsorted(kept, targets)
    text = -log_q[torch.arange(7), places].sum()
    loss = (first.exp() * (first - second)).sum() + text_share * text
    (expected,) = torch.autograd.grad(loss, wide)
    assert found.gradient is not None
    torch.testing.assert_close(found.gradient.double(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("divergence", ["forward", "reverse"])
def test_equal_states_have_no_divergence_and_no_gradient(dtype: torch.dtype, divergence: Any) -> None:
    hidden, _, head, targets = drawn(3)
    head = replace(head, weight=head.weight.to(dtype), removed=HEADS["removed"]["removed"], softcap=3.0)
    states, settings = hidden.to(dtype), Recovery(divergence=divergence)
    found = text_losses(states, states, head, targets=targets, settings=settings, with_gradient=True)
    assert found.divergence == 0
    assert found.gradient is not None
    assert not found.gradient.any()


def test_pieces_of_positions_and_of_the_vocabulary_change_only_the_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, dense, head, targets = drawn(4)
    settings = Recovery(text_share=1.0)
    whole = text_losses(hidden, dense, head, targets=targets, settings=settings, with_gradient=True)
    monkeypatch.setattr(module, "MOST_LOGITS", 60)
    small = replace(head, max_logits=26)
    pieces = text_losses(hidden, dense, small, targets=targets, settings=settings, with_gradient=True)
    assert pieces.divergence == pytest.approx(whole.divergence, rel=1e-6)
    assert pieces.gradient is not None
    assert whole.gradient is not None
    torch.testing.assert_close(pieces.gradient, whole.gradient, rtol=1e-5, atol=1e-6)


def test_a_text_without_counted_positions_has_no_loss() -> None:
    hidden, dense, head, targets = drawn(5)
    settings = Recovery()
    found = text_losses(hidden[:0], dense[:0], head, targets=targets[:0], settings=settings, with_gradient=True)
    assert (found.divergence, found.cross_entropy, found.n_positions) == (0, 0, 0)
    assert found.gradient is not None
    assert found.gradient.shape == (0, 6)
