"""Log-likelihood of given tokens, without ever holding the logits of a whole batch.

What is scored (which text, which of its tokens) belongs to the evaluation, running the model to the models.
"""

import torch
from torch import Tensor
from torch.nn.functional import linear

from mlprune.errors import BadInputError, ShapeError


def token_log_probs(logits: Tensor, targets: Tensor) -> Tensor:
    """Log-probability of each target token under its row of logits.

    Half-precision logits are widened to float32 before the softmax: in bfloat16 the sum over a vocabulary loses digits.

    Args:
        logits: [n, vocab], any float dtype.
        targets: [n], int64, in [0, vocab).
    Returns: [n], float32, <= 0.
    Raises:
        ShapeError: the two differ in n, or a target is outside the vocabulary.
    """
    if logits.ndim != 2 or targets.shape != logits.shape[:1]:
        raise ShapeError("targets do not fit the logits", expected=tuple(logits.shape[:1]), got=tuple(targets.shape))
    _check_targets(targets, logits.shape[1])
    return _picked(logits, targets)


def sliced_log_probs(
    hidden: Tensor,
    head_weight: Tensor,
    targets: Tensor,
    *,
    max_rows: int = 1024,
    head_bias: Tensor | None = None,
    softcap: float | None = None,
) -> Tensor:
    """Log-probability of each target token, the head being applied to a few rows at a time.

    Equals token_log_probs(hidden @ head_weight.T + head_bias, targets), with at most [max_rows, vocab] logits at once.
    A capped model (Gemma 2, arXiv 2408.00118) has logits cap * tanh(logits / cap); they are capped in float32 or wider.

    Args:
        hidden: [n, d], after the final norm, in the head's dtype.
        head_weight: [vocab, d].
        targets: [n], int64, in [0, vocab).
        max_rows: rows projected together, >= 1.
        head_bias: [vocab], for the few heads that have one.
        softcap: the cap of the logits, > 0.
    Returns: [n], float32, <= 0.
    Raises:
        ShapeError: the arguments do not fit together, or a target is outside the vocabulary.
        BadInputError: `max_rows` is below 1, or `softcap` is not above 0.
    """
    if max_rows < 1:
        raise BadInputError("too few rows to project", expected="max_rows >= 1", got=max_rows)
    if softcap is not None and not softcap > 0:
        raise BadInputError("a cap of logits is not positive", expected="softcap > 0", got=softcap)
    if hidden.ndim != 2 or head_weight.ndim != 2 or hidden.shape[1] != head_weight.shape[1]:
        raise ShapeError(
            "hidden states do not fit the head", expected=tuple(head_weight.shape[1:]), got=tuple(hidden.shape)
        )
    if targets.shape != hidden.shape[:1]:
        raise ShapeError("targets do not fit the states", expected=tuple(hidden.shape[:1]), got=tuple(targets.shape))
    if head_bias is not None and head_bias.shape != head_weight.shape[:1]:
        raise ShapeError("bias does not fit the head", expected=head_weight.shape[0], got=tuple(head_bias.shape))
    _check_targets(targets, head_weight.shape[0])
    picked = torch.empty(hidden.shape[0], dtype=torch.float32, device=hidden.device)
    for start in range(0, hidden.shape[0], max_rows):
        rows = slice(start, start + max_rows)
        logits = _widened(linear(hidden[rows], head_weight, head_bias))
        if softcap is not None:
            logits = logits.div_(softcap).tanh_().mul_(softcap)
        picked[rows] = _picked(logits, targets[rows])
    return picked


def _picked(logits: Tensor, targets: Tensor) -> Tensor:
    columns = targets.to(logits.device).unsqueeze(1)
    return torch.log_softmax(_widened(logits), dim=1).gather(1, columns).squeeze(1).to(torch.float32)


def _widened(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.to(torch.float32)


def _check_targets(targets: Tensor, n_vocabulary: int) -> None:
    outside = (targets < 0) | (targets >= n_vocabulary)
    if bool(outside.any()):
        got = int(targets[outside][0])
        raise ShapeError("a target is outside the vocabulary", expected=f"0 <= target < {n_vocabulary}", got=got)
