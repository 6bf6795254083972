"""Losses of one text and their gradient by its final hidden states, exact over the whole vocabulary.

At a position with the dense distribution p and the variant's q over the vocabulary V, `forward` is the Kullback-Leibler
divergence from p to q, as sum over v of p_v (log p_v - log q_v) - p_v + q_v, and its gradient by the logit of v is
q_v - p_v. `reverse` exchanges p and q, and its gradient is q_v (log q_v - log p_v - D). The cross entropy of the token
that follows has the gradient q_v - [v = token].

If tokens are removed, V is the kept tokens, over which both distributions are renormalised. Both come from one function
with the same pieces of the positions, so that equal states have a divergence and a gradient of exactly 0. All is
float32 or wider; sums over positions are float64.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from mlprune.capabilities.recovery.settings import DivergenceName, Recovery
from mlprune.numeric.log_probs import OutputHead, logit_pieces, part_bounds

MOST_LOGITS = 2**23
"""Logits of one model that are in memory at once: 32 MiB in float32."""
N_COPIES = 8
"""Tensors of the size of the logits of one model that are in memory at once."""
_REMOVED = -1e30
"""Logit of a removed token: its probability is 0, and differences of its log-probabilities are finite."""


@dataclass(frozen=True)
class TextLosses:
    """Sums over the counted positions of a text."""

    divergence: float
    cross_entropy: float
    n_positions: int
    gradient: Tensor | None = None
    """[m, d] in the dtype of the states: of divergence + text_share * cross_entropy by the final states."""


def text_losses(
    hidden: Tensor,
    dense: Tensor,
    head: OutputHead,
    *,
    targets: Tensor,
    settings: Recovery,
    with_gradient: bool,
) -> TextLosses:
    """Return the losses of the counted positions of a text.

    Args:
        hidden: [m, d], the variant's states after the final norm, in the head's dtype and on its device.
        dense: [m, d], the dense model's states at the same positions.
        head: the dense model's head; its removed tokens are those that the variant lacks.
        targets: [m] int64, on the same device: the token after each position.
    """
    gradient = torch.empty_like(hidden) if with_gradient else None
    divergence = cross_entropy = 0.0
    bounds = part_bounds(hidden.shape[0], most=max(1, MOST_LOGITS // head.n_tokens))
    for start, end in pairwise(bounds) if hidden.shape[0] else ():
        part = slice(start, end)
        logits = _logits(hidden[part], head)
        log_q, log_p = (_log_softmax(one, head) for one in (logits.clone(), _logits(dense[part], head)))
        q, rows = log_q.exp(), torch.arange(end - start, device=hidden.device)
        of_rows, of_logits = _DIVERGENCES[settings.divergence](log_p, log_q, q)
        divergence += float(of_rows.double().sum())
        cross_entropy -= float(log_q[rows, targets[part]].double().sum())
        if gradient is not None:
            if settings.text_share:
                of_logits.add_(q, alpha=settings.text_share)
                of_logits[rows, targets[part]] -= settings.text_share
            gradient[part] = _by_states(of_logits, logits, head)
    return TextLosses(divergence, cross_entropy, hidden.shape[0], gradient)


def _logits(states: Tensor, head: OutputHead) -> Tensor:
    """Return [m, vocab] logits of all tokens, removed ones included, float32 or wider."""
    pieces = [piece for _, piece in logit_pieces(states, replace(head, removed=None))]
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=1)


def _log_softmax(logits: Tensor, head: OutputHead) -> Tensor:
    """Return log-probabilities over the kept tokens; overwrites the logits."""
    if head.removed is not None:
        logits.masked_fill_(head.removed, _REMOVED)
    return torch.log_softmax(logits, dim=1)


def _forward(log_p: Tensor, log_q: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    """Return the divergence [m] from p to q, and its gradient by the logits of q, [m, vocab]; overwrites `log_p`."""
    p = log_p.exp()
    slopes = q - p
    return log_p.sub_(log_q).mul_(p).add_(slopes).clamp_(min=0).sum(dim=1), slopes


def _reverse(log_p: Tensor, log_q: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    """Return the divergence [m] from q to p, and its gradient by the logits of q, [m, vocab]; overwrites `log_p`."""
    p = log_p.exp()
    change = torch.sub(log_q, log_p, out=log_p)
    divergence = (change * q).add_(p).sub_(q).clamp_(min=0).sum(dim=1)
    return divergence, change.sub_(divergence.unsqueeze(1)).mul_(q)


_DIVERGENCES: Mapping[DivergenceName, Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "forward": _forward,
    "reverse": _reverse,
}


def _by_states(slopes: Tensor, logits: Tensor, head: OutputHead) -> Tensor:
    """Return the gradient by the states [m, d] from that by the logits; overwrites both.

    Args:
        slopes: [m, vocab]; 0 for removed tokens.
        logits: [m, vocab], scaled and capped.
    """
    if head.softcap is not None:
        slopes.mul_(logits.div_(head.softcap).square_().neg_().add_(1))
    if head.scale != 1:
        slopes.mul_(head.scale)
    return slopes.to(head.weight.dtype) @ head.weight
