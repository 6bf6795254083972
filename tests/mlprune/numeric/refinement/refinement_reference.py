"""Refiners as plain float64 loops from their formulas, and small layers with correlated inputs."""

import torch
from torch import Tensor

from mlprune.numeric.selection.levels import levels_of
from mlprune.numeric.weights.layer_inputs import FeatureMoments
from mlprune.numeric.weights.scores import wanda_scores
from tests.drawn import drawn

Swap = tuple[float, int, int]


def correlated(d_in: int, n_tokens: int = 64, seed: int = 9) -> Tensor:
    """[n_tokens, d_in] float64 inputs with correlated features of different sizes and means."""
    mixing = torch.eye(d_in) + 0.5 * drawn(d_in, d_in, seed=seed)
    return ((drawn(n_tokens, d_in, seed=seed + 1) @ mixing + drawn(d_in, seed=seed + 2)) * 0.3).double()


def wanda_mask(weight: Tensor, products: Tensor, structure: str = "row", sparsity: float = 0.5) -> Tensor:
    """[out, in] bool."""
    scores = wanda_scores(weight, products.diagonal().sqrt().float())
    return levels_of(scores, structure, sparsities=[sparsity]) == 1


def row_error(row: list[float], keep: list[bool], gram: list[list[float]]) -> float:
    """The sum over i and j of r_i G_ij r_j of the removed part r."""
    removed = [j for j in range(len(row)) if not keep[j]]
    return sum(row[i] * gram[i][j] * row[j] for i in removed for j in removed)


def allowed_swaps(row: list[float], keep: list[bool], gram: list[list[float]], group: int) -> list[Swap]:
    """(error after the swap, kept weight to remove, removed weight to restore), by the error of every changed mask."""
    swaps = []
    for p in (j for j in range(len(row)) if keep[j]):
        for u in (j for j in range(len(row)) if not keep[j] and j // group == p // group):
            changed = list(keep)
            changed[p], changed[u] = False, True
            swaps.append((row_error(row, changed, gram), p, u))
    return swaps


def looped_gram_swaps(
    weight: Tensor, keep: Tensor, products: Tensor, *, group: int, swaps: int
) -> tuple[list[list[bool]], list[int]]:
    """Masks and numbers of swaps, each the best of all swaps by the error of the whole row."""
    gram, masks, counts = products.double().tolist(), keep.tolist(), [0] * len(keep)
    for i, row in enumerate(weight.double().tolist()):
        for _ in range(swaps):
            error, p, u = min(allowed_swaps(row, masks[i], gram, group), default=(float("inf"), -1, -1))
            if not error < row_error(row, masks[i], gram) * (1 - 1e-9):
                break
            masks[i][p], masks[i][u] = False, True
            counts[i] += 1
    return masks, counts


def moments_of(demonstrations: list[Tensor]) -> FeatureMoments:
    """Moments of demonstrations, [tokens, d] each."""
    together = torch.cat(demonstrations).double()
    variances = torch.stack([one.double().var(dim=0, correction=0) for one in demonstrations])
    return FeatureMoments(
        n_demonstrations=len(demonstrations),
        n_tokens=len(together),
        sums=together.sum(0),
        squares=together.square().sum(0),
        within_variances=variances.mean(0),
    )


def looped_dsnot(
    weight: Tensor, keep: Tensor, demonstrations: list[Tensor], *, group: int, swaps: int, threshold: float
) -> tuple[list[list[bool]], list[int]]:
    """Masks and numbers of swaps by DSnoT, from the tokens of the demonstrations."""
    d = weight.shape[1]
    tokens = [one.double().tolist() for one in demonstrations]
    means = [sum(x[j] for one in tokens for x in one) / len(tokens) for j in range(d)]
    norms = [sum(x[j] ** 2 for one in tokens for x in one) ** 0.5 for j in range(d)]
    variances = [
        sum(
            sum((x[j] - sum(y[j] for y in one) / len(one)) ** 2 for x in one) / len(one) for one in tokens
        ) / len(tokens)
        for j in range(d)
    ]  # fmt: skip
    masks, counts = keep.tolist(), [0] * len(keep)
    for i, row in enumerate(weight.double().tolist()):
        influence = [row[j] * means[j] for j in range(d)]
        regrowable = [j for j in range(d) if not masks[i][j]]
        prunable = [j for j in range(d) if masks[i][j]]
        change = first = sum(influence[j] for j in regrowable)
        while counts[i] < swaps and abs(change) > threshold:
            sign = 1 if change > 0 else -1
            restored = max(
                (j for j in regrowable if sign * influence[j] > 0),
                key=lambda j: (sign * influence[j] / variances[j], -j),
                default=None,
            )
            if restored is None:
                break
            if group == d:
                candidates = [j for j in prunable if sign * influence[j] < 0]
            else:
                candidates = [j for j in prunable if j // group == restored // group]
            regrowable.remove(restored)
            if not candidates and group < d:
                continue
            if not candidates:
                break
            pruned = min(candidates, key=lambda j: (abs(row[j]) * norms[j], j))
            after = change + influence[pruned] - influence[restored]
            if group < d and after * first <= 0:
                break
            prunable.remove(pruned)
            masks[i][pruned], masks[i][restored] = False, True
            change = after
            counts[i] += 1
    return masks, counts


def looped_least_squares(weight: Tensor, keep: Tensor, inputs: Tensor, ridge: float) -> Tensor:
    """The kept weights of each row by ordinary least squares on its outputs, with rows of the ridge added."""
    products = inputs.T @ inputs
    extra = (ridge * products.diagonal().mean()).sqrt()
    recovered = torch.zeros(weight.shape, dtype=torch.float64)
    for i, (row, kept) in enumerate(zip(weight.double(), keep, strict=True)):
        columns = kept.nonzero().flatten()
        system = torch.cat([inputs[:, columns], extra * torch.eye(len(columns), dtype=torch.float64)])
        outputs = torch.cat([inputs @ row, extra * row[columns]])
        recovered[i, columns] = torch.linalg.lstsq(system, outputs[:, None]).solution[:, 0]
    return recovered
