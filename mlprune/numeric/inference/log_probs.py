"""Log-probabilities of target tokens, computed over pieces of the vocabulary: no full row of logits is in memory.

Each hidden state is projected once, whatever its number of targets.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mlprune.errors import BadInputError, ShapeError
from mlprune.numeric.inference.onednn_linear import quick_linear

MAX_LOGITS = 2**21
"""Logits in memory at once: 8 MiB in float32, which stay in the processor's cache."""

MAX_STATES = 512
"""States that are projected together: enough for full speed, and few enough that pieces of the vocabulary are wide."""


@dataclass(frozen=True)
class TargetScores:
    """Scores of target tokens, on the CPU."""

    log_probs: Tensor
    """[k] float64, <= 0."""
    is_greedy: Tensor
    """[k] bool: whether the target is the most likely token; the first of equally likely tokens."""


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
    """Return the log-probability of each target token after its state, and whether it is the most likely token.

    log_prob[i] = logits[states[i], targets[i]] - log sum exp logits[states[i]],  logits = hidden @ head_weight.T + bias

    The sum over a piece of the vocabulary is float32 or wider, the sum over pieces float64. A capped model (Gemma 2,
    arXiv:2408.00118) has logits cap * tanh(logits / cap).

    Args:
        hidden: [m, d], after the final norm, in the head's dtype.
        head_weight: [vocab, d].
        states: [k] int64, in [0, m): the row of `hidden` of each target; rows may occur several times.
        targets: [k] int64, in [0, vocab).
        head_bias: [vocab]; None if the head has no bias.
        softcap: cap of the logits, > 0; None: no cap.
        max_logits: most logits in memory at once, >= 1.
    Raises:
        ShapeError: the shapes do not match, or a state or target does not exist.
        BadInputError: `max_logits` is below 1, or `softcap` is not above 0.
    """
    _check(hidden, head_weight, states=states, targets=targets, head_bias=head_bias)
    if max_logits < 1 or (softcap is not None and not softcap > 0):
        got = (max_logits, softcap)
        raise BadInputError("a bound is out of range", expected="max_logits >= 1, softcap > 0", got=got)
    log_probs = torch.empty(states.shape[0], dtype=torch.float64)
    is_greedy = torch.empty(states.shape[0], dtype=torch.bool)
    n_parts = max(1, -(-hidden.shape[0] // MAX_STATES))
    for part in range(n_parts):
        start, end = (hidden.shape[0] * bound // n_parts for bound in (part, part + 1))
        rows = hidden[start:end]
        asked = ((states >= start) & (states < end)).nonzero().flatten()
        if asked.numel():
            head = _Head(head_weight, head_bias, softcap, max(1, max_logits // rows.shape[0]))
            picked, most_likely = _scored(rows, head, states=states[asked] - start, targets=targets[asked])
            log_probs[asked], is_greedy[asked] = picked.cpu(), most_likely.cpu()
    return TargetScores(log_probs, is_greedy)


@dataclass(frozen=True)
class _Head:
    """The output head, cut into pieces of the vocabulary."""

    weight: Tensor
    bias: Tensor | None
    softcap: float | None
    n_columns: int

    def pieces(self) -> range:
        """The first token of each piece."""
        return range(0, self.weight.shape[0], self.n_columns)

    def logits(self, rows: Tensor, first: int) -> Tensor:
        """Return the logits of the piece that begins at a token, [m, n_columns or fewer], float32 or wider."""
        piece = slice(first, first + self.n_columns)
        logits = quick_linear(rows, self.weight[piece], None if self.bias is None else self.bias[piece])
        logits = logits if logits.dtype == torch.float64 else logits.float()
        return logits if self.softcap is None else logits.div_(self.softcap).tanh_().mul_(self.softcap)


def _scored(rows: Tensor, head: _Head, *, states: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return [k] float64 log-probabilities and [k] bool of the targets of some rows."""
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
        of_targets = logits[states[inside], targets[inside] - first]
        picked[inside] = of_targets.double()
        at_top = inside[of_targets == top[states[inside]]]
        is_first_of_top[at_top] = logits[states[at_top]].argmax(dim=1) == targets[at_top] - first
    totals = torch.logsumexp(torch.stack(masses), dim=0)
    is_most_likely = is_first_of_top & (piece_of_highest[states] == targets // head.n_columns * head.n_columns)
    return picked - totals[states], is_most_likely


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
