"""Activation statistics on an accelerator: masked reductions, and copies to the CPU.

Activation statistics on an accelerator: one masked reduction for all demonstrations of a batch, and no wait.

Nothing here reads a value of the device, so results are not checked; the caller copies many of them to the CPU at once
and checks them there. Any device computes the same sums, up to the order of additions in float64; on the CPU the
functions of `statistics.py` are faster, and check at once. Each function below uses them there.
"""

from collections.abc import Hashable, Iterator
from functools import reduce
from typing import Generic, TypeVar

import torch
from torch import Tensor

from mlprune.errors import StatisticsError
from mlprune.numeric.activations.statistics import (
    CountedTokens,
    active_counts,
    check_mask,
    check_sums,
    demonstration_sums,
    hidden_magnitudes,
    token_sums,
)

MAX_ENTRIES = 2**24
"""Activations that are widened at once: 128 MiB as float64. Another value may change last bits."""
MAX_BYTES = 2**23
"""Size of the tensors on accelerators from which a caller copies them and frees their memory."""
Key = TypeVar("Key", bound=Hashable)


def submit_demonstration_sums(inputs: Tensor, counted: CountedTokens) -> Tensor:
    """Return the sums of `demonstration_sums`, [b, in] float32; on an accelerator they are not checked."""
    if inputs.device.type == "cpu":
        return demonstration_sums(inputs, counted.mask)
    return masked_squares(inputs, counted).to(torch.float32)


def submit_routed_sums(inputs: Tensor, rows: Tensor, counted: CountedTokens) -> Tensor:
    """Sum the squares of some tokens over each demonstration: those that are routed to an expert, and count.

    Args:
        inputs: [t, in], any float dtype.
        rows: [t] int64, the places of the tokens in the batch, row by row.
        counted: tokens of the batch that count.
    Returns: [b, in] float32, zero for a demonstration without such tokens; on an accelerator they are not checked.
    Raises:
        StatisticsError: on the CPU: a counted activation is not finite, or its sum is beyond float32.
    """
    n_rows, length = counted.mask.shape
    kept = ~counted.ignored_on(inputs.device).flatten()[rows]
    squares = torch.where(kept[:, None], inputs, 0).double().square_()
    owners = rows // length
    if inputs.device.type == "cpu":
        sums = torch.zeros(n_rows, inputs.shape[1], dtype=torch.float64).index_add_(0, owners, squares)
        check_sums(sums.to(torch.float32))
        return sums.to(torch.float32)
    belongs = owners == torch.arange(n_rows, device=inputs.device)[:, None]
    return (belongs.double() @ squares).to(torch.float32)


def submit_routed_counts(rows: Tensor, counted: CountedTokens) -> Tensor:
    """Count some tokens of each demonstration by group: those that are routed to an expert, and count.

    Args:
        rows: [t] int64, the places of the tokens in the batch.
        counted: tokens of the batch that count, with groups.
    Returns: [b, groups] float32 on the device of the rows.
    """
    assert counted.groups is not None, "the tokens have groups"
    shape = (counted.mask.shape[0], counted.groups.n_groups)
    chosen = counted.group_places_on(rows.device)[rows]
    if rows.device.type == "cpu":
        return torch.bincount(chosen + 1, minlength=1 + shape[0] * shape[1])[1:].reshape(shape).to(torch.float32)
    is_at = chosen == torch.arange(shape[0] * shape[1], device=rows.device)[:, None]
    return is_at.to(torch.float32).sum(dim=1).reshape(shape)


def submit_hidden_magnitudes(hidden: Tensor, counted: CountedTokens) -> Tensor:
    """Return the norms of `hidden_magnitudes`, [b, d] float32; on an accelerator they are not checked."""
    if hidden.device.type == "cpu":
        return hidden_magnitudes(hidden, counted.mask)
    return masked_squares(hidden, counted).sqrt_().to(torch.float32)


def submit_token_sums(hidden: Tensor, counted: CountedTokens) -> Tensor:
    """Return the sums of `token_sums`, [d] float64; on an accelerator they are not checked."""
    return token_sums(hidden, counted.mask) if hidden.device.type == "cpu" else masked_sums(hidden, counted)


def submit_active_counts(activations: Tensor, counted: CountedTokens) -> Tensor:
    """Return the counts of `active_counts`, [neurons] int64.

    On an accelerator they are not checked, see `check_counts`.
    """
    if activations.device.type == "cpu":
        return active_counts(activations, counted.mask)
    return masked_counts(activations, counted)


def masked_squares(values: Tensor, counted: CountedTokens) -> Tensor:
    """Sum the squares over the counted tokens of each demonstration; the values of other tokens have no effect.

    Args:
        values: [b, s, f], any float dtype.
        counted: tokens of the batch that count.
    Returns: [b, f], float64; not finite where a counted value is not finite.
    Raises:
        ShapeError: the shapes do not match, or the mask is not boolean.
    """
    check_mask(values, counted.mask)
    return reduce(Tensor.add_, (piece.square_().sum(dim=1) for piece in _wide_pieces(values, counted)))


def masked_sums(values: Tensor, counted: CountedTokens) -> Tensor:
    """Sum [b, s, f] over the counted tokens of all demonstrations.

    Returns: [f], float64; not finite where a counted value is not finite.
    Raises:
        ShapeError: the shapes do not match, or the mask is not boolean.
    """
    check_mask(values, counted.mask)
    return reduce(Tensor.add_, (piece.sum(dim=(0, 1)) for piece in _wide_pieces(values, counted)))


def masked_counts(activations: Tensor, counted: CountedTokens) -> Tensor:
    """Count the counted tokens of [b, s, neurons] at which each neuron is above zero.

    Returns: [neurons] int64; all are -1 if a counted activation is not finite.
    Raises:
        ShapeError: the shapes do not match, or the mask is not boolean.
    """
    check_mask(activations, counted.mask)
    values = activations.masked_fill(counted.ignored_on(activations.device), 0)
    return torch.where(values.isfinite().all(), (values > 0).sum(dim=(0, 1)), -1)


def check_counts(counts: Tensor) -> None:
    """Check the counts of `submit_active_counts`.

    Raises:
        StatisticsError: a counted activation is not finite.
    """
    if bool((counts < 0).any()):
        raise StatisticsError("a counted activation is not finite")


def _wide_pieces(values: Tensor, counted: CountedTokens) -> Iterator[Tensor]:
    """Yield pieces of the sequence as new float64 tensors, with 0 at tokens that do not count."""
    n_rows, n_tokens, n_features = values.shape
    n_together = max(1, MAX_ENTRIES // max(1, n_rows * n_features))
    ignored = counted.ignored_on(values.device)
    for start in range(0, max(1, n_tokens), n_together):
        piece = slice(start, start + n_together)
        yield values[:, piece].masked_fill(ignored[:, piece], 0).to(torch.float64)


class HostCopies(Generic[Key]):
    """Tensors that are copied to the CPU together: one wait for each device and dtype, not one for each tensor."""

    def __init__(self) -> None:
        self._tensors: dict[Key, Tensor] = {}
        self._n_bytes = 0

    @property
    def is_large(self) -> bool:
        """Whether the tensors on accelerators have reached the size at which they should be copied."""
        return self._n_bytes >= MAX_BYTES

    def add(self, key: Key, tensor: Tensor) -> None:
        """Add a tensor of any device; one on the CPU is kept as it is."""
        self._tensors[key] = tensor
        self._n_bytes += 0 if tensor.device.type == "cpu" else tensor.nbytes

    def take(self) -> dict[Key, Tensor]:
        """Remove all tensors and return them on the CPU, in the order in which they were added."""
        tensors, self._tensors, self._n_bytes = self._tensors, {}, 0
        groups: dict[tuple[torch.device, torch.dtype], list[Key]] = {}
        for key, tensor in tensors.items():
            if tensor.device.type != "cpu":
                groups.setdefault((tensor.device, tensor.dtype), []).append(key)
        for keys in groups.values():
            of_group = [tensors[key] for key in keys]
            copied = torch.cat([tensor.flatten() for tensor in of_group]).cpu()
            pieces = torch.split(copied, [tensor.numel() for tensor in of_group])
            for key, piece in zip(keys, pieces, strict=True):  # a view would be pickled with all its neighbours
                tensors[key] = piece.reshape(tensors[key].shape).clone()
        return tensors
