"""Log-probabilities under a large vocabulary, a piece of it at a time: no row of logits is ever whole in memory.

A hidden state is projected once, whatever number of targets is asked of it. What is asked belongs to the evaluation.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mlprune.errors import BadInputError, ShapeError
from mlprune.numeric.inference.onednn_linear import quick_linear

MAX_LOGITS = 2**21
"""Logits held at a time: in float32 8 MiB, which stay in the processor's cache."""

MAX_STATES = 512
"""States projected together: enough for full speed, and few enough that pieces of the vocabulary are not narrow."""


@dataclass(frozen=True)
class TargetScores:
    """What a model says of some targets, on the CPU."""

    log_probs: Tensor
    """[k] float64, <= 0."""
    is_greedy: Tensor
    """[k] bool: whether the target is the likeliest token; of equal tokens the first is."""


def target_scores(
    hidden: Tensor,
    head_weight: Tensor,
    *,
    states: Tensor,
    targets: Tensor,
    head_bias: Tensor | None = None,
    softcap: float | None = None,
    max_logits: int = MAX_LOGITS,
) -> TargetScores:
    """Log-probability of each target token after its state, and whether no token is likelier.

    log_prob[i] = logits[states[i], targets[i]] - log sum exp logits[states[i]],  logits = hidden @ head_weight.T + bias

    The sum over the vocabulary is taken piece by piece in float32 or wider, and over the pieces in float64.
    A capped model (Gemma 2, arXiv 2408.00118) has logits cap * tanh(logits / cap).

    Args:
        hidden: [m, d], after the final norm, in the head's dtype.
        head_weight: [vocab, d].
        states: [k] int64, in [0, m): the row of `hidden` a target is asked of; a row may be asked many times.
        targets: [k] int64, in [0, vocab).
        head_bias: [vocab], for the few heads that have one.
        softcap: the cap of the logits, > 0.
        max_logits: most logits held at a time, >= 1; more than that only where a single state has a piece of one token.
    Raises:
        ShapeError: the arguments do not fit together, or a state or target does not exist.
        BadInputError: `max_logits` is below 1, or `softcap` is not above 0.
    """
    _check(hidden, head_weight, states=states, targets=targets, head_bias=head_bias)
    if max_logits < 1 or (softcap is not None and not softcap > 0):
        got = (max_logits, softcap)
        raise BadInputError("a bound is not positive", expected="max_logits >= 1, softcap > 0", got=got)
    log_probs = torch.empty(states.shape[0], dtype=torch.float64)
    is_greedy = torch.empty(states.shape[0], dtype=torch.bool)
    n_parts = max(1, -(-hidden.shape[0] // MAX_STATES))
    for part in range(n_parts):
        start, end = (hidden.shape[0] * bound // n_parts for bound in (part, part + 1))
        rows = hidden[start:end]
        own = ((states >= start) & (states < end)).nonzero().flatten()
        if own.numel():
            head = _Head(head_weight, head_bias, softcap, max(1, max_logits // rows.shape[0]))
            picked, likeliest = _scored(rows, head, states=states[own] - start, targets=targets[own])
            log_probs[own], is_greedy[own] = picked.cpu(), likeliest.cpu()
    return TargetScores(log_probs, is_greedy)


@dataclass(frozen=True)
class _Head:
    """A vocabulary in pieces."""

    weight: Tensor
    bias: Tensor | None
    softcap: float | None
    n_columns: int

    def pieces(self) -> range:
        """First token of each piece."""
        return range(0, self.weight.shape[0], self.n_columns)

    def logits(self, rows: Tensor, first: int) -> Tensor:
        """[m, n_columns or fewer] float32 or wider: logits of the piece that begins at a token."""
        piece = slice(first, first + self.n_columns)
        found = quick_linear(rows, self.weight[piece], None if self.bias is None else self.bias[piece])
        found = found if found.dtype == torch.float64 else found.float()
        return found if self.softcap is None else found.div_(self.softcap).tanh_().mul_(self.softcap)


def _scored(rows: Tensor, head: _Head, *, states: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """[k] float64 log-probabilities and [k] bool of the targets after some rows."""
    states, targets = states.to(rows.device), targets.to(rows.device)
    picked = torch.empty(states.shape[0], dtype=torch.float64, device=rows.device)
    is_first_of_top = torch.zeros(states.shape[0], dtype=torch.bool, device=rows.device)
    highest = torch.full((rows.shape[0],), -torch.inf, dtype=torch.float64, device=rows.device)
    piece_of_highest = torch.full((rows.shape[0],), -1, dtype=torch.int64, device=rows.device)
    masses = []
    for first in head.pieces():
        logits = head.logits(rows, first)
        masses.append(torch.logsumexp(logits, dim=1).double())
        top = logits.amax(dim=1)
        is_higher = top.double() > highest
        highest = torch.where(is_higher, top.double(), highest)
        piece_of_highest[is_higher] = first
        inside = ((targets >= first) & (targets < first + logits.shape[1])).nonzero().flatten()
        own = logits[states[inside], targets[inside] - first]
        picked[inside] = own.double()
        at_top = inside[own == top[states[inside]]]
        is_first_of_top[at_top] = logits[states[at_top]].argmax(dim=1) == targets[at_top] - first
    totals = torch.logsumexp(torch.stack(masses), dim=0)
    is_likeliest = is_first_of_top & (piece_of_highest[states] == targets // head.n_columns * head.n_columns)
    return picked - totals[states], is_likeliest


def _check(hidden: Tensor, head_weight: Tensor, *, states: Tensor, targets: Tensor, head_bias: Tensor | None) -> None:
    if hidden.ndim != 2 or head_weight.ndim != 2 or hidden.shape[1] != head_weight.shape[1]:
        expected, got = tuple(head_weight.shape[1:]), tuple(hidden.shape)
        raise ShapeError("hidden states do not fit the head", expected=expected, got=got)
    if head_bias is not None and head_bias.shape != head_weight.shape[:1]:
        raise ShapeError("bias does not fit the head", expected=head_weight.shape[0], got=tuple(head_bias.shape))
    if states.ndim != 1 or states.shape != targets.shape:
        raise ShapeError("targets do not fit their states", expected=tuple(states.shape), got=tuple(targets.shape))
    for name, values, bound in (("state", states, hidden.shape[0]), ("target", targets, head_weight.shape[0])):
        outside = (values < 0) | (values >= bound)
        if bool(outside.any()):
            raise ShapeError(f"a {name} does not exist", expected=f"0 <= {name} < {bound}", got=int(values[outside][0]))
