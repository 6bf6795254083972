"""Activation statistics: sums of squares and magnitudes over the tokens of a batch that count.

Activation statistics: sums of squares per input feature and demonstration, and norms and means of them.

There is one sum per demonstration, so that any subset, weighting or resampling of demonstrations needs no new forward
pass. The caller chooses the tokens that count. Published scripts count padding; here the statistics of a demonstration
depend on its own counted tokens only.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mlprune.errors import ShapeError, StatisticsError

_ENTRIES_TOGETHER = 2**17
"""Activations that are squared at once: 1 MiB as float64, which stays in cache. Another value may change last bits."""


@dataclass(frozen=True)
class TokenGroups:
    """Groups of the tokens of a batch, such as their languages."""

    of_tokens: Tensor
    """[b, s] int64 on the CPU, from 0; of padding, any."""
    n_groups: int


class CountedTokens:
    """Mask of the counted tokens of a batch, copied to each device once.

    Args:
        mask: bool [b, s], on the CPU, True where the token counts.
        groups: by which the tokens of experts are counted; None: they are not counted.
    """

    def __init__(self, mask: Tensor, groups: TokenGroups | None = None) -> None:
        self.mask = mask
        self.groups = groups
        self._group_places: dict[torch.device, Tensor] = {}
        self._ignored: dict[torch.device, Tensor] = {}
        self._positions: dict[torch.device, Tensor] = {}

    def ignored_on(self, device: torch.device) -> Tensor:
        """Return bool [b, s, 1], on a device, True where the token does not count."""
        if device not in self._ignored:
            self._ignored[device] = (~self.mask).unsqueeze(2).to(device, non_blocking=True)
        return self._ignored[device]

    def rows_of(self, values: Tensor) -> list[Tensor]:
        """Return the counted tokens [t, in] of each row of [b, s, in], in their order; the device is not waited for."""
        device = values.device
        if device.type == "cpu":
            return [row[counted] for row, counted in zip(values, self.mask, strict=True)]
        if device not in self._positions:
            self._positions[device] = self.mask.flatten().nonzero().flatten().to(device, non_blocking=True)
        tokens = values.flatten(end_dim=1).index_select(0, self._positions[device])
        return list(torch.split(tokens, self.mask.sum(dim=1).tolist()))

    def routed_rows_of(self, values: Tensor, rows: Tensor) -> list[Tensor]:
        """Return the counted tokens [t, in] of each row of the batch among some tokens [n, in].

        Args:
            rows: [n] int64, the places of the tokens in the batch, row by row.
        """
        kept = ~self.ignored_on(values.device).flatten()[rows]
        owners = (rows // self.mask.shape[1])[kept]
        n_tokens = torch.bincount(owners, minlength=self.mask.shape[0]).tolist()
        return list(torch.split(values[kept], n_tokens))

    def positions_of(self, rows: Tensor) -> list[Tensor]:
        """Return for each row of the batch which of its counted tokens are among some tokens, [t] int64 from 0.

        Args:
            rows: [n] int64 on the CPU, the places of the tokens in the batch, row by row.
        """
        kept = rows[self.mask.flatten()[rows]]
        positions = (self.mask.cumsum(dim=1) - 1).flatten()[kept]
        n_tokens = torch.bincount(kept // self.mask.shape[1], minlength=self.mask.shape[0]).tolist()
        return list(torch.split(positions, n_tokens))

    def group_places_on(self, device: torch.device) -> Tensor:
        """Return [b * s] int64, on a device: demonstration * groups + group of a counted token, -1 of others."""
        assert self.groups is not None, "the tokens have groups"
        if device not in self._group_places:
            first = torch.arange(self.mask.shape[0])[:, None] * self.groups.n_groups
            places = torch.where(self.mask, first + self.groups.of_tokens, -1).flatten()
            self._group_places[device] = places.to(device, non_blocking=True)
        return self._group_places[device]

    def free_devices(self) -> None:
        """Drop the copies on devices, so that this can be pickled; they are made again when they are needed."""
        self._group_places.clear()
        self._ignored.clear()
        self._positions.clear()


def check_mask(values: Tensor, token_mask: Tensor) -> None:
    """Check that a mask fits activations [batch, seq, features].

    Raises:
        ShapeError: the shapes do not match, or the mask is not boolean.
    """
    if values.ndim != 3 or values.shape[:2] != token_mask.shape or token_mask.dtype != torch.bool:
        expected = f"bool {tuple(values.shape[:2])}"
        got = f"{token_mask.dtype} {tuple(token_mask.shape)}"
        raise ShapeError("token mask does not fit the activations", expected=expected, got=got)


def demonstration_sums(inputs: Tensor, token_mask: Tensor) -> Tensor:
    """Sum the squared inputs of a layer over the counted tokens of each demonstration.

    q[n, j] = sum over counted tokens t of x[n, t, j] ** 2

    Only counted tokens are read: padding has no effect, and a demonstration has the same bits alone and in a batch.
    Squares are computed and added in float64, where they cannot overflow, and rounded once.

    Args:
        inputs: [batch, seq, in], any float dtype.
        token_mask: bool [batch, seq], True where the token counts.
    Returns: [batch, in], float32, >= 0; zero for a demonstration without counted tokens.
    Raises:
        ShapeError: the shapes do not match, or the mask is not boolean.
        StatisticsError: a counted activation is not finite, or its sum is beyond float32.
    """
    sums = _sums_of_squares(inputs, token_mask).to(torch.float32)
    check_sums(sums)
    return sums


def hidden_magnitudes(hidden: Tensor, token_mask: Tensor) -> Tensor:
    """Compute the norm of each hidden feature of each demonstration over its counted tokens.

    m[n, j] = sqrt(sum over counted tokens t of h[n, t, j] ** 2)

    Args:
        hidden: [batch, seq, d], any float dtype.
        token_mask: bool [batch, seq], True where the token counts.
    Returns: [batch, d], float32, >= 0.
    Raises:
        ShapeError: the shapes do not match, or the mask is not boolean.
        StatisticsError: a counted activation is not finite.
    """
    magnitudes = _sums_of_squares(hidden, token_mask).sqrt().to(torch.float32)
    check_sums(magnitudes)
    return magnitudes


def token_sums(hidden: Tensor, token_mask: Tensor) -> Tensor:
    """Sum the hidden states of the counted tokens of a batch.

    v[j] = sum over demonstrations n and counted tokens t of h[n, t, j], added in float64.

    Args:
        hidden: [batch, seq, d], any float dtype.
        token_mask: bool [batch, seq], True where the token counts.
    Returns: [d], float64.
    Raises:
        ShapeError: the shapes do not match, or the mask is not boolean.
        StatisticsError: a counted activation is not finite.
    """
    check_mask(hidden, token_mask)
    sums = hidden.detach()[token_mask.to(hidden.device)].to(torch.float64).sum(dim=0)
    check_token_sums(sums)
    return sums


def check_sums(sums: Tensor) -> None:
    """Check the sums of `demonstration_sums`, or the magnitudes of `hidden_magnitudes`, [batch, features].

    Raises:
        StatisticsError: a value is not finite.
    """
    finite = torch.isfinite(sums)
    if not bool(finite.all()):
        row, feature = (~finite).nonzero()[0].tolist()
        raise StatisticsError(
            "a counted activation is not finite or too large to square", row_in_batch=row, feature=feature
        )


def check_token_sums(sums: Tensor) -> None:
    """Check the sums of `token_sums`, [d].

    Raises:
        StatisticsError: a value is not finite.
    """
    finite = torch.isfinite(sums)
    if not bool(finite.all()):
        feature = int((~finite).nonzero()[0])
        raise StatisticsError("a counted hidden state is not finite", feature=feature, got=float(sums[feature]))


def feature_norms(sum_sq: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the norm of every input feature over a set of demonstrations.

    ||X_j||_2 = sqrt(sum over n of w[n] * q[n, j]), added in float64, in the order of demonstrations.

    Args:
        sum_sq: [n, in], float32 or wider, from `demonstration_sums`, n >= 1.
        weights: [n], float64, >= 0, how often each demonstration counts: 0 omits a demonstration, and the counts of
            `bootstrap_weights` resample. None: each counts once.
    Returns: [in], float32, >= 0.
    Raises:
        ShapeError: `sum_sq` is not a matrix, or `weights` is not one number per demonstration.
        StatisticsError: no demonstration is given, all weights are zero, or a value is negative or non-finite.
    """
    return _total(sum_sq, weights).norms()


def mean_squares(sum_sq: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the mean over demonstrations of every feature's squared norm, comparable between sets of different size.

    s_j = sum over n of w[n] * q[n, j] / sum over n of w[n], added in float64, in the order of demonstrations.

    Args:
        sum_sq: [n, in], float32 or wider, from `demonstration_sums`, n >= 1.
        weights: [n], float64, >= 0, as for `feature_norms`. None: each counts once.
    Returns: [in], float64, >= 0.
    Raises:
        ShapeError: `sum_sq` is not a matrix, or `weights` is not one number per demonstration.
        StatisticsError: no demonstration is given, all weights are zero, or a value is negative or non-finite.
    """
    return _total(sum_sq, weights).mean_squares()


class RunningTotal:
    """Weighted sum over demonstrations whose statistics arrive in pieces, bit for bit the sum over all at once.

    Args:
        n: number of demonstrations of the whole set, >= 1.
        weights: [n], as for `feature_norms`.
    Raises:
        ShapeError: `weights` is not one number per demonstration.
        StatisticsError: no demonstration is given, or all weights are zero.
    """

    def __init__(self, n: int, weights: Tensor | None = None) -> None:
        if n == 0:
            raise StatisticsError("statistics have no demonstrations")
        self._factors = [1.0] * n if weights is None else _checked_weights(weights, n)
        self._n_added = 0
        self._total: Tensor | None = None

    def add(self, sum_sq: Tensor) -> None:
        """Add the next demonstrations, in float64, in their order.

        Args:
            sum_sq: [k, in], float32 or wider, from `demonstration_sums`.
        Raises:
            ShapeError: `sum_sq` is not a matrix, has another number of features, or more rows than are missing.
            StatisticsError: a value is negative or non-finite.
        """
        if sum_sq.ndim != 2:
            raise ShapeError("statistics are not a matrix", expected="[n, in]", got=tuple(sum_sq.shape))
        n_left = len(self._factors) - self._n_added
        if self._total is None:
            self._total = torch.zeros(sum_sq.shape[1], dtype=torch.float64, device=sum_sq.device)
        if sum_sq.shape[0] > n_left or sum_sq.shape[1] != len(self._total):
            expected = f"at most {n_left} rows of {len(self._total)}"
            raise ShapeError("a piece of statistics does not fit", expected=expected, got=tuple(sum_sq.shape))
        wrong = ~(torch.isfinite(sum_sq) & (sum_sq >= 0))
        if bool(wrong.any()):
            row, feature = wrong.nonzero()[0].tolist()
            where = {"demonstration": self._n_added + row, "feature": feature, "got": float(sum_sq[row, feature])}
            raise StatisticsError("a sum of squares is negative or not finite", where)
        factors = self._factors[self._n_added : self._n_added + sum_sq.shape[0]]
        for values, factor in zip(sum_sq.detach(), factors, strict=True):
            self._total += values if factor == 1 else values.to(torch.float64) * factor
        self._n_added += sum_sq.shape[0]

    def norms(self) -> Tensor:
        """Return the norms; see `feature_norms`."""
        return self._whole().sqrt().to(torch.float32)

    def mean_squares(self) -> Tensor:
        """Return the mean squares; see the function `mean_squares`."""
        return self._whole() / math.fsum(self._factors)

    def _whole(self) -> Tensor:
        if self._total is None or self._n_added < len(self._factors):
            expected, got = len(self._factors), self._n_added
            raise StatisticsError("statistics lack demonstrations", expected=expected, got=got)
        return self._total


def _sums_of_squares(values: Tensor, token_mask: Tensor) -> Tensor:
    """Return sums over counted tokens, [batch, features], float64."""
    check_mask(values, token_mask)
    sums = torch.zeros(values.shape[0], values.shape[2], dtype=torch.float64, device=values.device)
    n_together = max(1, _ENTRIES_TOGETHER // max(1, values.shape[2]))
    squares = torch.empty(n_together, values.shape[2], dtype=torch.float64, device=values.device)
    mask = token_mask.to(values.device)
    for row, (demonstration, counted) in enumerate(zip(values.detach(), mask, strict=True)):
        for tokens in _counted_tokens(demonstration, counted, n_together):
            sums[row] += squares[: tokens.shape[0]].copy_(tokens).square_().sum(dim=0)
    return sums


def _counted_tokens(demonstration: Tensor, counted: Tensor, n_together: int) -> Iterator[Tensor]:
    """Yield the counted rows of [seq, features] in chunks; views if the counted tokens are contiguous."""
    positions = counted.nonzero().flatten()
    n_tokens = positions.shape[0]
    first, last = (int(positions[0]), int(positions[-1])) if n_tokens else (0, -1)
    rows = demonstration[first : last + 1] if last - first + 1 == n_tokens else None
    for start in range(0, n_tokens, n_together):
        stop = min(start + n_together, n_tokens)
        yield demonstration[positions[start:stop]] if rows is None else rows[start:stop]


def _total(sum_sq: Tensor, weights: Tensor | None) -> RunningTotal:
    """Return the total of all demonstrations at once."""
    if sum_sq.ndim != 2:
        raise ShapeError("statistics are not a matrix", expected="[n, in]", got=tuple(sum_sq.shape))
    total = RunningTotal(sum_sq.shape[0], weights)
    total.add(sum_sq)
    return total


def _checked_weights(weights: Tensor, n: int) -> list[float]:
    if weights.shape != (n,):
        raise ShapeError("weights do not fit the demonstrations", expected=(n,), got=tuple(weights.shape))
    factors = [float(weight) for weight in weights.tolist()]
    for demonstration, factor in enumerate(factors):
        if not (math.isfinite(factor) and factor >= 0):
            raise StatisticsError("a weight is negative or not finite", demonstration=demonstration, got=factor)
    if not any(factors):
        raise StatisticsError("all demonstrations have weight 0", n=n)
    return factors


def active_counts(activations: Tensor, token_mask: Tensor) -> Tensor:
    """Count the tokens at which each neuron fires.

    c[j] = number of counted tokens (n, t) with a[n, t, j] > 0

    Args:
        activations: [batch, seq, neurons], any float dtype, after the activation function; for a gated feed-forward
            layer the activated gate before the multiplication, as in the paper.
        token_mask: bool [batch, seq], True where the token counts.
    Returns: [neurons], int64.
    Raises:
        ShapeError: the shapes do not match, or the mask is not boolean.
        StatisticsError: a counted activation is not finite.
    """
    if activations.ndim != 3 or activations.shape[:2] != token_mask.shape or token_mask.dtype != torch.bool:
        got = f"{token_mask.dtype} {tuple(token_mask.shape)}"
        raise ShapeError("token mask does not fit the activations", expected=tuple(activations.shape[:2]), got=got)
    counted = activations[token_mask.to(activations.device)]
    if not bool(torch.isfinite(counted).all()):
        raise StatisticsError("a counted activation is not finite")
    return (counted > 0).sum(dim=0)
