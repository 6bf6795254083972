"""Divergence of next-token distributions from those of the dense model, exact over the whole vocabulary.

At a position with the dense distribution p and the variant's q over the vocabulary V:

    D = sum over v in V of p_v (log p_v - log q_v) - p_v + q_v

in float64. In exact arithmetic it is the Kullback-Leibler divergence from p to q, and each term is at least 0; a term
that rounding makes negative counts as 0. Both distributions come from float32 or wider logits, which one function
computes with the same pieces of the vocabulary and of the positions, so equal hidden states give exactly 0.

If tokens are removed, V is the kept tokens, both distributions are renormalised over them, and the dense probability of
the removed tokens is given beside the divergence.
"""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from threading import Lock

import torch
from torch import Tensor

from mlprune.capabilities.distance.kernels import SMALLEST, write_divergences
from mlprune.errors import ShapeError
from mlprune.numeric.log_probs import MAX_CPU_STATES, OutputHead, TargetScores, logit_pieces, part_bounds

KEPT_LOGITS = 2**25
"""Logits of one model that are in memory at once: 128 MiB in float32. 128 states with a vocabulary of 262,144."""
BLOCK_LOGITS = 2**15
"""Logits that are turned into float64 together: the copies stay in the processor's cache."""
MEASURES = ("divergence", "n_top_agreed", "log_prob_change", "removed_mass")
"""What is measured at each target: D; 1 if the most probable token is the same, the smaller id among equals; the
absolute change of the target's log-probability; and the dense probability of the removed tokens."""


SHARED_BYTES = 2**30
"""Most memory for logits of the dense model that later variants read again: 1,024 positions of 262,144 tokens."""


def thread_bytes(n_tokens: int) -> int:
    """Return the memory of one thread in addition to that of log-probabilities, for a vocabulary of some size."""
    return 2 * 4 * max(n_tokens, min(KEPT_LOGITS, MAX_CPU_STATES * n_tokens))


@dataclass(frozen=True)
class Side:
    """The distributions of some states of one model."""

    logits: Tensor
    """[m, vocab], float32 or wider; minus infinity for removed tokens."""
    top: Tensor
    """[m] int64: the most probable token, the smallest id among equals."""
    total: Tensor
    """[m] float64: log of the sum of exponentials of the logits."""

    def log_probs_of(self, rows: Tensor, tokens: Tensor) -> Tensor:
        """Return [k] float64 log-probabilities of some tokens of some rows."""
        return self.logits[rows, tokens].double() - self.total[rows]


class SharedSides:
    """Distributions of the dense model that the next variants read again, the first ones that fit. Thread-safe.

    Variants read the same batches in the same order, so what was kept first is as good as anything. They are kept when
    a second variant reads them, because new memory costs time, and often there is only one variant.
    """

    def __init__(self, limit_bytes: int = SHARED_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._n_bytes = 0
        self._sides: dict[Hashable, Side] = {}
        self._were_read: set[Hashable] = set()
        self._lock = Lock()

    def get(self, key: Hashable) -> Side | None:
        """Return the distributions with a key; None if they were not kept."""
        return self._sides.get(key)

    def reserve(self, key: Hashable, n_bytes: int) -> bool:
        """Return whether distributions are to be kept: they were read before, and there is room, which is taken."""
        with self._lock:
            is_kept = key in self._were_read and self._n_bytes + n_bytes <= self._limit_bytes
            self._n_bytes += n_bytes if is_kept else 0
            self._were_read.add(key)
            return is_kept

    def keep(self, key: Hashable, side: Side) -> None:
        """Keep distributions whose bytes are reserved."""
        self._sides[key] = side


def distances(
    hidden: Tensor,
    dense: Tensor,
    heads: tuple[OutputHead, OutputHead],
    *,
    states: Tensor,
    targets: Tensor,
    shared: tuple[SharedSides, Hashable] | None = None,
) -> TargetScores:
    """Score targets with a variant, and measure its distance from the dense model at each of them.

    Args:
        hidden: [m, d], the variant's states after the final norm, in the head's dtype.
        dense: [m, d], the dense model's states at the same positions, in the same dtype.
        heads: of the variant and of the dense model, often the same; removed tokens are those that the variant lacks.
        states: [k] int64, on the CPU, in [0, m): the row of each target.
        targets: [k] int64, on the CPU, in [0, vocab), none of them removed.
        shared: distributions of the dense model that other variants read, too, and the key of these states.
    Returns: log-probabilities and `is_greedy` of the variant, and `MEASURES`.
    Raises:
        ShapeError: the states of the two models do not match.
    """
    if hidden.shape != dense.shape or hidden.dtype != dense.dtype:
        expected, got = (tuple(hidden.shape), hidden.dtype), (tuple(dense.shape), dense.dtype)
        raise ShapeError("dense states do not match those of the variant", expected=expected, got=got)
    n_tokens = heads[0].n_tokens
    bounds = part_bounds(hidden.shape[0], most=max(1, min(MAX_CPU_STATES, KEPT_LOGITS // n_tokens)))
    dtype = torch.promote_types(hidden.dtype, torch.float32)
    most = max(end - start for start, end in pairwise(bounds))
    room = torch.empty(2, most, n_tokens, dtype=dtype, device=hidden.device)  # new memory costs time
    log_probs, is_greedy = torch.empty(len(states), dtype=torch.float64), torch.empty(len(states), dtype=torch.bool)
    measures = {name: torch.empty(len(states), dtype=torch.float64) for name in MEASURES}
    for start, end in pairwise(bounds):
        asked = ((states >= start) & (states < end)).nonzero().flatten()
        if not asked.numel():
            continue
        of_part = None if shared is None else (shared[0], (shared[1], start))
        part = _measured(hidden[start:end], dense[start:end], heads, room[:, : end - start], shared=of_part)
        rows, tokens = (states[asked] - start).to(hidden.device), targets[asked].to(hidden.device)
        ours, theirs = (side.log_probs_of(rows, tokens) for side in (part.variant, part.dense))
        log_probs[asked], is_greedy[asked] = ours.cpu(), (part.variant.top[rows] == tokens).cpu()
        changes = {
            "divergence": part.divergence[rows],
            "n_top_agreed": (part.variant.top == part.dense.top)[rows].double(),
            "log_prob_change": (ours - theirs).abs(),
            "removed_mass": part.removed_mass[rows],
        }
        for name, values in changes.items():
            measures[name][asked] = values.cpu()
    return TargetScores(log_probs, is_greedy, measures)


@dataclass(frozen=True)
class _Part:
    variant: Side
    dense: Side
    divergence: Tensor
    """[m] float64."""
    removed_mass: Tensor
    """[m] float64, in [0, 1]."""


def _measured(
    hidden: Tensor,
    dense: Tensor,
    heads: tuple[OutputHead, OutputHead],
    room: Tensor,
    *,
    shared: tuple[SharedSides, Hashable] | None,
) -> _Part:
    """Return the distributions of some states of both models, and how they differ.

    Args:
        room: [2, m, vocab], overwritten.
    """
    removed, (whole, whole_dense) = heads[0].removed, (replace(head, removed=None) for head in heads)
    zeros = torch.zeros(hidden.shape[0], dtype=torch.float64, device=hidden.device)
    ours = _fill(room[0], hidden, whole)
    if removed is not None:
        theirs = _fill(room[1], dense, whole_dense)
        total = _totals(theirs, theirs.amax(dim=1))
        variant, other = (_side(logits.masked_fill_(removed, -torch.inf)) for logits in (ours, theirs))
        removed_mass = -torch.expm1((other.total - total).clamp_(max=0.0))
        return _Part(variant, other, _divergences(other, variant), removed_mass)
    variant = _side(ours)
    if torch.equal(hidden, dense) and whole.weight is whole_dense.weight:
        return _Part(variant, variant, zeros, zeros)
    other = _dense_side(dense, whole_dense, room[1], shared=shared)
    return _Part(variant, other, _divergences(other, variant), zeros)


def _dense_side(dense: Tensor, head: OutputHead, room: Tensor, *, shared: tuple[SharedSides, Hashable] | None) -> Side:
    """Return the distributions of the dense model: kept ones, or new ones, in memory of their own if they are kept."""
    if shared is None:
        return _side(_fill(room, dense, head))
    sides, key = shared
    if (kept := sides.get(key)) is not None:
        return kept
    if not sides.reserve(key, room.numel() * room.element_size()):
        return _side(_fill(room, dense, head))
    side = _side(_fill(torch.empty_like(room), dense, head))
    sides.keep(key, side)
    return side


def _fill(room: Tensor, rows: Tensor, head: OutputHead) -> Tensor:
    """Write the logits of the whole vocabulary, [m, vocab], float32 or wider."""
    for first, piece in logit_pieces(rows, head):
        room[:, first : first + piece.shape[1]] = piece
    return room


def _side(logits: Tensor) -> Side:
    top = _first_tops(logits)
    return Side(logits, top, _totals(logits, logits.gather(1, top.unsqueeze(1)).squeeze(1)))


def _first_tops(logits: Tensor) -> Tensor:
    """Return the first of the largest logits of each row; numpy is ten times as fast as torch on the CPU."""
    return torch.from_numpy(logits.numpy().argmax(axis=1)) if logits.device.type == "cpu" else logits.max(dim=1)[1]


def _blocks(logits: Tensor) -> Iterator[tuple[int, slice]]:
    """Yield the row and the columns of blocks of which float64 copies fit the processor's cache."""
    for row in range(logits.shape[0]):
        for first in range(0, logits.shape[1], BLOCK_LOGITS):
            yield row, slice(first, first + BLOCK_LOGITS)


def _totals(logits: Tensor, largest: Tensor) -> Tensor:
    """Return the log of the sum of exponentials of each row in float64, [m].

    Args:
        largest: [m] the largest logit of each row.
    """
    shifts = largest.double()
    sums = torch.zeros_like(shifts)
    for row, columns in _blocks(logits):
        sums[row] += (logits[row, columns].double() - shifts[row]).exp_().sum()
    return sums.log_().add_(shifts)


def _divergences(dense: Side, variant: Side) -> Tensor:
    """Return the divergence of each row, [m] float64, >= 0."""
    sums = torch.zeros_like(dense.total)
    if sums.device.type == "cpu":
        write_divergences(*(one.numpy() for one in (dense.logits, variant.logits, dense.total, variant.total, sums)))
        return sums
    for row, columns in _blocks(dense.logits):
        log_p, log_q = (
            (side.logits[row, columns].double() - side.total[row]).clamp_(min=SMALLEST) for side in (dense, variant)
        )
        p, q = log_p.exp(), log_q.exp()
        sums[row] += log_p.sub_(log_q).mul_(p).sub_(p).add_(q).clamp_(min=0.0).sum()
    return sums
