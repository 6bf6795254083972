"""Routing statistics: sums over the tokens that are routed to each expert, by demonstration and role of the token."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mlprune.errors import ShapeError, StatisticsError

ROLES = ("other", "source", "target")
"""Roles of a token: its side in a demonstration. `other`: template outside the sides, and special tokens."""
SUMS = ("n_routed", "norm_sum", "square_norm_sum", "gate_sum", "gate_norm_sum", "gate_square_norm_sum")
"""Sums over the tokens that are routed to an expert: gate ** a * ||f||_2 ** b is sum 3 * a + b, with a in {0, 1}, b in
{0, 1, 2}, the gate weight of a token, and the output f of the expert for it before it is multiplied by the gate."""


def owners_of(roles: Tensor, counted: Tensor) -> Tensor:
    """Return the owner of each token of a batch: demonstration * 3 + role; 3 * b for a token that does not count.

    Args:
        roles: [b, s] int64, indices in `ROLES`.
        counted: [b, s] bool.
    Returns: [b * s] int64.
    Raises:
        ShapeError: the two differ in shape.
    """
    if roles.shape != counted.shape:
        raise ShapeError("roles of tokens do not fit the batch", expected=tuple(counted.shape), got=tuple(roles.shape))
    n_rows = roles.shape[0]
    owners = torch.arange(n_rows)[:, None] * len(ROLES) + roles
    return torch.where(counted, owners, n_rows * len(ROLES)).flatten()


def routing_sums(routes: Tensor, n_routed: Sequence[int], owners: Tensor, *, n_rows: int) -> Tensor:
    """Add what the experts of one block do for the tokens of a batch, in the order of experts and tokens.

    Args:
        routes: [3, n] float64: the place of a token in the batch, its gate weight, and the norm of the output of the
            expert for it; expert after expert.
        n_routed: tokens of each expert, which add up to n.
        owners: [b * s] from `owners_of`.
        n_rows: b.
    Returns: [experts, b, 3, 6] float64, with the roles and the sums in the orders of `ROLES` and `SUMS`.
    Raises:
        StatisticsError: a gate weight or an output of a counted token is not finite.
    """
    n_owners = n_rows * len(ROLES) + 1
    experts = torch.repeat_interleave(torch.tensor(n_routed, dtype=torch.int64))
    keys = experts * n_owners + owners[routes[0].to(torch.int64)]
    gates, norms = routes[1], routes[2]
    weights = (None, norms, norms.square(), gates, gates * norms, gates * norms.square())
    n_keys = len(n_routed) * n_owners
    sums = torch.stack([torch.bincount(keys, values, minlength=n_keys).double() for values in weights], dim=1)
    counted = sums.reshape(len(n_routed), n_owners, len(SUMS))[:, :-1]
    if not bool(torch.isfinite(counted).all()):
        expert = int((~counted.isfinite()).nonzero()[0][0])
        raise StatisticsError("a gate weight or an output of an expert is not finite", expert=expert)
    return counted.reshape(len(n_routed), n_rows, len(ROLES), len(SUMS))


def added_in_order(values: Tensor, weights: Tensor | None = None) -> Tensor:
    """Add demonstrations in their order, [n, ...] to [...] float64.

    Args:
        weights: [n] float64, how often each counts; None: once.
    """
    total = torch.zeros(values.shape[1:], dtype=torch.float64)
    for index, row in enumerate(values):
        total += row if weights is None else row * weights[index]
    return total
