"""Log-probabilities of target tokens, computed over pieces of the vocabulary: no full row of logits is in memory.

Each hidden state is projected once, whatever its number of targets.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from mlprune.errors import BadInputError, ShapeError
from mlprune.numeric.inference import accelerator_log_probs
from mlprune.numeric.inference.accelerator_log_probs import score_on_accelerator
from mlprune.numeric.inference.onednn_linear import quick_linear
from mlprune.numeric.inference.output_head import OutputHead, part_bounds

MAX_LOGITS = 2**21
"""Logits in memory at once on the CPU: 8 MiB in float32, which stay in the processor's cache."""

MAX_STATES = 512
"""States that the CPU projects together: enough for full speed, and few enough for wide pieces of the vocabulary."""


def max_logits_of(device_type: str) -> int:
    """Return the default of the most logits in memory at once on a kind of device."""
    return MAX_LOGITS if device_type == "cpu" else accelerator_log_probs.MAX_LOGITS


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
    max_logits: int | None = None,
) -> TargetScores:
    """Return the log-probability of each target token after its state, and whether it is the most likely token.

    log_prob[i] = logits[states[i], targets[i]] - log sum exp logits[states[i]],  logits = hidden @ head_weight.T + bias

    The sum over a piece of the vocabulary is float32 or wider, the sum over pieces float64. A capped model (Gemma 2,
    arXiv:2408.00118) has logits cap * tanh(logits / cap).

    Args:
        hidden: [m, d], after the final norm, in the head's dtype.
        head_weight: [vocab, d].
        states: [k] int64, on the CPU, in [0, m): the row of `hidden` of each target; rows may occur several times.
        targets: [k] int64, on the CPU, in [0, vocab).
        head_bias: [vocab]; None if the head has no bias.
        softcap: cap of the logits, > 0; None: no cap.
        max_logits: most logits in memory at once, >= 1; None: the default of the device.
    Raises:
        ShapeError: the shapes do not match, or a state or target does not exist.
        BadInputError: `max_logits` is below 1, or `softcap` is not above 0.
    """
    _check(hidden, head_weight, states=states, targets=targets, head_bias=head_bias)
    max_logits = max_logits_of(hidden.device.type) if max_logits is None else max_logits
    if max_logits < 1 or (softcap is not None and not softcap > 0):
        got = (max_logits, softcap)
        raise BadInputError("a bound is out of range", expected="max_logits >= 1, softcap > 0", got=got)
    head = OutputHead(head_weight, head_bias, softcap, max_logits)
    if hidden.device.type == "cpu":
        return TargetScores(*_score_on_cpu(hidden, head, states=states, targets=targets))
    return TargetScores(*score_on_accelerator(hidden, head, states=states, targets=targets))


def _score_on_cpu(hidden: Tensor, head: OutputHead, *, states: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return [k] float64 log-probabilities and [k] bool, in small parts that stay in the processor's cache."""
    log_probs = torch.empty(states.shape[0], dtype=torch.float64)
    is_greedy = torch.empty(states.shape[0], dtype=torch.bool)
    for start, end in pairwise(part_bounds(hidden.shape[0], most=MAX_STATES)):
        asked = ((states >= start) & (states < end)).nonzero().flatten()
        if asked.numel():
            log_probs[asked], is_greedy[asked] = _score_part(
                hidden[start:end], head, states=states[asked] - start, targets=targets[asked]
            )
    return log_probs, is_greedy


def _score_part(rows: Tensor, head: OutputHead, *, states: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return [k] float64 log-probabilities and [k] bool of the targets of some rows."""
    picked = torch.empty(states.shape[0], dtype=torch.float64)
    is_first_of_top = torch.zeros(states.shape[0], dtype=torch.bool)
    highest = torch.full((rows.shape[0],), -torch.inf, dtype=torch.float64)
    piece_of_highest = torch.full((rows.shape[0],), -1, dtype=torch.int64)
    masses = []
    n_columns = head.n_columns(rows.shape[0])
    for first, weight, bias in head.pieces(n_columns):
        logits = quick_linear(rows, weight, bias)
        logits = head.cap_in_place(logits if logits.dtype == torch.float64 else logits.float())
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
    is_most_likely = is_first_of_top & (piece_of_highest[states] == targets // n_columns * n_columns)
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
