"""Scores of experts from routing statistics, and the choice of the experts that are removed.

With the tokens T_e that are routed to expert e, their gate weights g, the outputs f of the expert for them, and all n
tokens, the score of an expert is

s_e = sum over T_e of g ** a * ||f||_2 ** b / (n or |T_e|),   a in {0, 1}, b in {0, 1, 2}

Sources of the named ones are in `mlprune.methods.scores`. An expert without tokens is unused: it has no mean, and is
removed before all others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mlprune.capabilities.experts.routing_sums import SUMS
from mlprune.errors import ShapeError, StatisticsError
from mlprune.hashing import ordered_by_hash
from mlprune.methods import ExpertUseParameters, Parameters
from mlprune.numeric.activations.aggregation import AGGREGATION_FUNCTIONS
from mlprune.numeric.selection.levels import n_removed

NEVER = 1e-200
"""Divisor of a contrast for an expert that the contrast set never uses: it ranks above all experts that it uses."""


@dataclass(frozen=True)
class ExpertSums:
    """Routing statistics of one block from one demonstration set."""

    sums: Tensor
    """[experts, 6] float64, in the order of `SUMS`."""
    n_tokens: float

    def per_token(self) -> Tensor:
        """Return the sums divided by the number of tokens."""
        return self.sums / self.n_tokens


def expert_scores(sums: ExpertSums, use: ExpertUseParameters) -> Tensor:
    """Score the experts of a block by what they do for the tokens of a set.

    Returns: [experts] float64, >= 0; 0 for an unused expert.
    Raises:
        ShapeError: the sums are not [experts, 6].
        StatisticsError: a sum is negative or not finite, or no token counts.
    """
    values = sums.sums
    if values.ndim != 2 or values.shape[1] != len(SUMS):
        raise ShapeError("routing sums have a wrong shape", expected=f"[experts, {len(SUMS)}]", got=tuple(values.shape))
    if not bool((torch.isfinite(values) & (values >= 0)).all()) or not sums.n_tokens > 0:
        raise StatisticsError("routing sums are negative or not finite, or count no token", n_tokens=sums.n_tokens)
    total, n_routed = values[:, 3 * use.gate + use.norm], values[:, 0]
    return total / (torch.where(n_routed > 0, n_routed, 1.0) if use.per == "routed" else sums.n_tokens)


def joined_scores(
    sets: Sequence[ExpertSums],
    use: ExpertUseParameters,
    *,
    how: str | None = None,
    parameters: Parameters | None = None,
    shares: Sequence[float] = (),
    contrast: ExpertSums | None = None,
) -> Tensor:
    """Score the experts of a block by several sets, or against a contrast set.

    `pooled` adds the sums per token of all sets with their shares first. The other aggregations work on the scores of
    the sets, among which an expert that a set never uses has score 0. The contrast of s_e with c_e, the score in the
    contrast set, is s_e ** 2 / c_e, after Kim et al. (arXiv:2409.16911).

    Args:
        how: a key of `AGGREGATIONS`; None for one set.
        shares: of the sets, which sum to 1; empty: equal.
    Returns: [experts] float64, >= 0.
    Raises:
        ShapeError: the sets have different experts.
        StatisticsError: as for `expert_scores`, or several sets have no aggregation.
    """
    weights = list(shares) or [1 / len(sets)] * len(sets)
    if how == "pooled":
        sets = [ExpertSums(AGGREGATION_FUNCTIONS["mean"](_flat(sets), weights, Parameters()).reshape(-1, len(SUMS)), 1)]
    scores = [expert_scores(one, use) for one in sets]
    if contrast is not None:
        divisor = expert_scores(contrast, use).clamp(min=NEVER)
        scores = [score.square() / divisor for score in scores]
    if len(scores) == 1:
        return scores[0]
    if how is None:
        raise StatisticsError("several sets need an aggregation", expected="one set", got=len(scores))
    return AGGREGATION_FUNCTIONS[how](torch.stack(scores), weights, parameters or Parameters())


def _flat(sets: Sequence[ExpertSums]) -> Tensor:
    if len({one.sums.shape for one in sets}) != 1:
        raise ShapeError("sets have different experts", got=[tuple(one.sums.shape) for one in sets])
    return torch.stack([one.per_token().flatten() for one in sets])


def random_ranks(n_experts: Mapping[int, int], *, seed: int) -> dict[int, Tensor]:
    """Order the experts of all blocks by the SHA-256 of `"seed:block:expert"`.

    Args:
        n_experts: block -> its experts.
    Returns: block -> [experts] float64, the place of each expert in the order.
    """
    names = ordered_by_hash(seed, (f"{block}:{expert}" for block, n in n_experts.items() for expert in range(n)))
    place = {name: float(index) for index, name in enumerate(names)}
    return {
        block: torch.tensor([place[f"{block}:{expert}"] for expert in range(n)], dtype=torch.float64)
        for block, n in n_experts.items()
    }


@dataclass(frozen=True)
class ExpertGroups:
    """Groups of the experts of a block, consecutive and of equal size; one group if a router has none."""

    n_groups: int
    least: int
    """Experts that every group keeps."""

    @property
    def n_kept(self) -> int:
        """Experts of the block that stay in any case."""
        return self.n_groups * self.least


def removed_experts(
    scores: Mapping[int, Tensor],
    unused: Mapping[int, Tensor],
    sparsity: float,
    *,
    groups: Mapping[int, ExpertGroups],
    together: bool,
) -> dict[int, Tensor]:
    """Choose the experts that are removed: unused ones first, then the lowest scores; ties: lower block, lower expert.

    floor(sparsity * experts) are removed, of each block or of all blocks together. An expert whose group would keep
    too few is skipped.

    Args:
        scores: block -> [experts].
        unused: block -> [experts] bool.
        groups: block -> the groups of its experts.
        together: whether the experts of all blocks are compared with each other.
    Returns: block -> [experts] bool.
    Raises:
        StatisticsError: this number of experts cannot be removed, or a score is not a number.
    """
    if together:
        return _removed(scores, unused, sparsity, groups)
    return {
        block: _removed({block: scores[block]}, {block: unused[block]}, sparsity, {block: groups[block]})[block]
        for block in scores
    }


def _removed(
    scores: Mapping[int, Tensor], unused: Mapping[int, Tensor], sparsity: float, groups: Mapping[int, ExpertGroups]
) -> dict[int, Tensor]:
    wrong = [block for block, of_block in scores.items() if bool(of_block.isnan().any())]
    if wrong:
        raise StatisticsError("a score of an expert is not a number", blocks=wrong)
    wanted = n_removed(sparsity, sum(map(len, scores.values())))
    order = sorted(
        (not is_unused, score, block, expert)
        for block, of_block in scores.items()
        for expert, (score, is_unused) in enumerate(zip(of_block.tolist(), unused[block].tolist(), strict=True))
    )
    removed = {block: torch.zeros(len(of_block), dtype=torch.bool) for block, of_block in scores.items()}
    kept = {block: [len(removed[block]) // groups[block].n_groups] * groups[block].n_groups for block in scores}
    for _, _, block, expert in order:
        group = expert * groups[block].n_groups // len(scores[block])
        if wanted and kept[block][group] > groups[block].least:
            removed[block][expert] = True
            kept[block][group] -= 1
            wanted -= 1
    if wanted:
        raise StatisticsError("too few experts would remain", sparsity=sparsity, blocks=sorted(scores), missing=wanted)
    return removed
