"""Log-probabilities of target tokens on an accelerator: few large kernels, and one wait for the device.

The head multiplies thousands of states at a time with the whole vocabulary. Indices are sorted on the CPU and sent
once, so no kernel has a result whose size the host must know. Any device computes the same values; the CPU has a
faster way, in `log_probs.py`.
"""

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from mlprune.numeric.inference.output_head import OutputHead, part_bounds

MAX_LOGITS = 2**28
"""Logits in memory at once: 1 GiB in float32. 1,048 states with a vocabulary of 256,008 tokens."""

MAX_STATES = 4096
"""States that are projected together: more do not make a product faster."""

_HALF = (torch.bfloat16, torch.float16)


def score_on_accelerator(hidden: Tensor, head: OutputHead, *, states: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return [k] float64 log-probabilities and [k] bool, whether each target is the first most likely token.

    Sums over a piece of the vocabulary are float32 or wider, sums over pieces float64.

    Args:
        hidden: [m, d].
        states: [k] int64, on the CPU: the row of `hidden` of each target.
        targets: [k] int64, on the CPU.
    Returns: both on the CPU.
    """
    order = torch.argsort(states, stable=True)
    indices = torch.stack([states[order], targets[order]])
    rows = row_bounds(hidden.shape[0], head)
    asked = torch.searchsorted(indices[0], torch.tensor(rows)).tolist()
    indices = indices.to(hidden.device, non_blocking=True)
    scores = [torch.empty(2, 0, dtype=torch.float64, device=hidden.device)]
    for (first, last), (start, end) in zip(pairwise(rows), pairwise(asked), strict=True):
        if start < end:
            states_of_part, targets_of_part = indices[:, start:end]
            scores.append(_score_part(hidden[first:last], head, states=states_of_part - first, targets=targets_of_part))
    in_order = torch.empty(2, states.shape[0], dtype=torch.float64)
    in_order[:, order] = torch.cat(scores, dim=1).cpu()
    return in_order[0], in_order[1] > 0


def row_bounds(n_states: int, head: OutputHead) -> list[int]:
    """Return the bounds of parts of states, each with as many logits of the whole vocabulary as fit in memory."""
    return part_bounds(n_states, most=min(MAX_STATES, max(1, head.max_logits // head.n_tokens)))


def _pieces(rows: Tensor, head: OutputHead) -> Iterator[tuple[int, Tensor]]:
    """Yield the first token and the logits of each piece of the vocabulary: one, unless a single row is too large.

    Logits are [m, tokens of the piece], float32 or wider.
    """
    for first, weight, bias in head.pieces(head.n_columns(rows.shape[0])):
        yield first, head.cap_in_place(_logits(rows, weight, bias))


def _score_part(rows: Tensor, head: OutputHead, *, states: Tensor, targets: Tensor) -> Tensor:
    """Return [2, k] float64: log-probabilities, and 1 where the target is the first most likely token."""
    picked = torch.zeros(states.shape[0], dtype=torch.float64, device=rows.device)
    highest = torch.full((rows.shape[0],), -torch.inf, dtype=torch.float64, device=rows.device)
    most_likely = torch.full((rows.shape[0],), -1, dtype=torch.int64, device=rows.device)
    masses = []
    for first, logits in _pieces(rows, head):
        places = targets - first
        is_inside = (places >= 0) & (places < logits.shape[1])
        of_targets = logits[states, places.clamp(0, logits.shape[1] - 1)]
        picked = torch.where(is_inside, of_targets.double(), picked)
        top, token = logits.max(dim=1)
        is_higher = top.double() > highest
        most_likely = torch.where(is_higher, token + first, most_likely)
        highest = torch.where(is_higher, top.double(), highest)
        masses.append(_logsumexp_in_place(logits, top).double())
    totals = torch.logsumexp(torch.stack(masses), dim=0)
    return torch.stack([picked - totals[states], (most_likely[states] == targets).double()])


def _logsumexp_in_place(logits: Tensor, top: Tensor) -> Tensor:
    """Return [m] log of the sum of exponentials of each row; overwrites the logits, so that no copy is in memory.

    Args:
        top: [m] the largest logit of each row.
    """
    shift = top.nan_to_num(nan=torch.nan, posinf=0.0, neginf=0.0)
    return logits.sub_(shift.unsqueeze(1)).exp_().sum(dim=1).log_().add_(shift)


def _logits(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return [m, n] logits, float32 or wider.

    Half precision is multiplied with a float32 result where torch can do that; otherwise it is rounded to half
    precision first.
    """
    if rows.dtype in _HALF and has_wide_products(rows.device.type):
        product = torch.mm(rows, weight.T, out_dtype=torch.float32)
        return product if bias is None else product.add_(bias)
    product = functional.linear(rows, weight, bias)
    return product if product.dtype == torch.float64 else product.float()


def has_wide_products(device_type: str) -> bool:
    """Return whether torch can multiply half-precision matrices with a float32 result on a kind of device.

    It depends on the build of torch alone, so all workers with one build compute the same bits.
    """
    key = {"cpu": "CPU", "cuda": "CUDA"}.get(device_type)
    if key is None or not hasattr(torch.ops.aten.mm, "dtype"):
        return False
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key("aten::mm.dtype", key))
