"""Scoring and ordering one block, against the formulas written as loops."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from mlprune.errors import ShapeError, StatisticsError
from mlprune.models.families import FAMILIES
from mlprune.pruning.scoring import ScoreChoice, block_levels, keep_masks

XGLM = FAMILIES["xglm"]
D_IN, D_OUT, N = 8, 5, 3
SPARSITIES = (0.25, 0.5, 0.8)


@pytest.fixture
def weights() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {layer: torch.randn(D_OUT, D_IN, generator=generator) for layer in XGLM.layers}


def statistics(seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.rand(N, D_IN, generator=generator) for name in XGLM.input_names}


def lowest(scores: list[float], n: int) -> set[int]:
    """Indices of the n lowest scores, of equal ones the lower index first."""
    return set(sorted(range(len(scores)), key=lambda index: (scores[index], index))[:n])


def removed_in(mask: Tensor) -> list[set[int]]:
    return [set((~row).nonzero().flatten().tolist()) for row in mask]


def test_wanda_removes_the_lowest_products_of_weight_and_norm_in_each_row(weights: dict[str, Tensor]) -> None:
    sums = statistics(1)
    found = block_levels(
        weights, choice=ScoreChoice("wanda"), sparsities=SPARSITIES, block=0, family=XGLM, statistics=sums
    )
    for layer, weight in weights.items():
        norms = [sum(sums[XGLM.input_of(layer)][n][j].item() for n in range(N)) ** 0.5 for j in range(D_IN)]
        for level, n_removed in enumerate((2, 4, 6)):
            expected = [lowest([abs(w) * norms[j] for j, w in enumerate(row)], n_removed) for row in weight.tolist()]
            assert removed_in(keep_masks(found, level=level)[layer]) == expected
            assert found[layer].n_removed[level] == D_OUT * n_removed


def test_contrast_divides_by_the_contrast_set_and_counts_its_silent_features(weights: dict[str, Tensor]) -> None:
    target, code = statistics(1), statistics(2)
    code["fc1"][:, 3] = 0
    found = block_levels(
        weights,
        choice=ScoreChoice("contrast"),
        sparsities=(0.5,),
        block=0,
        family=XGLM,
        statistics=target,
        contrast=code,
    )
    for layer, weight in weights.items():
        name = XGLM.input_of(layer)
        mt, pl = (one[name].double().mean(dim=0).tolist() for one in (target, code))
        s = [a * (a / b) if b else a for a, b in zip(mt, pl, strict=True)]
        expected = [lowest([abs(w) * s[j] ** 0.5 for j, w in enumerate(row)], 4) for row in weight.tolist()]
        assert removed_in(keep_masks(found, level=0)[layer]) == expected
        assert found[layer].n_silent_features == (1 if layer == "fc1" else 0)


def test_layers_that_read_one_input_use_the_same_statistics() -> None:
    same = torch.randn(D_OUT, D_IN, generator=torch.Generator().manual_seed(5))
    found = block_levels(
        dict.fromkeys(XGLM.layers, same),
        choice=ScoreChoice("wanda"),
        sparsities=(0.5,),
        block=0,
        family=XGLM,
        statistics=statistics(1),
    )
    levels = {layer: one.levels for layer, one in found.items()}
    assert torch.equal(levels["self_attn.q_proj"], levels["self_attn.k_proj"])
    assert torch.equal(levels["self_attn.q_proj"], levels["self_attn.v_proj"])
    assert not torch.equal(levels["self_attn.q_proj"], levels["fc1"])


def test_magnitude_reads_nothing_but_the_weights(weights: dict[str, Tensor]) -> None:
    found = block_levels(weights, choice=ScoreChoice("magnitude"), sparsities=(0.5,), block=0, family=XGLM)
    for layer, weight in weights.items():
        expected = [lowest([abs(w) for w in row], 4) for row in weight.tolist()]
        assert removed_in(keep_masks(found, level=0)[layer]) == expected


def test_random_scores_depend_on_seed_block_and_layer_and_on_nothing_else(weights: dict[str, Tensor]) -> None:
    def levels(seed: int, block: int, given: dict[str, Tensor]) -> dict[str, Tensor]:
        choice = ScoreChoice("random", seed=seed)
        found = block_levels(given, choice=choice, sparsities=(0.5,), block=block, family=XGLM)
        return {layer: one.levels for layer, one in found.items()}

    first = levels(0, 0, weights)
    others = {layer: weight * 2 for layer, weight in reversed(weights.items())}
    assert all(torch.equal(first[layer], again) for layer, again in levels(0, 0, others).items())
    assert not torch.equal(first["fc1"], levels(1, 0, weights)["fc1"])
    assert not torch.equal(first["fc1"], levels(0, 1, weights)["fc1"])
    assert not torch.equal(first["fc1"], first["fc2"])


def test_masks_of_rising_sparsity_are_nested(weights: dict[str, Tensor]) -> None:
    found = block_levels(weights, choice=ScoreChoice("magnitude"), sparsities=SPARSITIES, block=0, family=XGLM)
    for denser, sparser in pairwise(keep_masks(found, level=level) for level in range(len(SPARSITIES))):
        for layer in weights:
            assert not (sparser[layer] & ~denser[layer]).any()


def test_n_of_m_removes_n_in_every_group(weights: dict[str, Tensor]) -> None:
    choice = ScoreChoice("magnitude", structure="1:4")
    found = block_levels(weights, choice=choice, sparsities=(0.25,), block=0, family=XGLM)
    for layer, weight in weights.items():
        for row, kept in zip(weight.tolist(), keep_masks(found, level=0)[layer].tolist(), strict=True):
            for start in range(0, D_IN, 4):
                expected = lowest([abs(w) for w in row[start : start + 4]], 1)
                assert {index for index, stays in enumerate(kept[start : start + 4]) if not stays} == expected


def test_statistics_that_do_not_fit_or_are_no_sums_of_squares_are_errors(weights: dict[str, Tensor]) -> None:
    options = {"sparsities": (0.5,), "block": 0, "family": XGLM}
    short = {name: one[:, :-1] for name, one in statistics(1).items()}
    with pytest.raises(ShapeError):
        block_levels(weights, choice=ScoreChoice("wanda"), statistics=short, **options)  # type: ignore[arg-type]
    negative = {name: -one for name, one in statistics(1).items()}
    with pytest.raises(StatisticsError):
        block_levels(weights, choice=ScoreChoice("wanda"), statistics=negative, **options)  # type: ignore[arg-type]
    with pytest.raises(ShapeError):
        block_levels(weights, choice=ScoreChoice("magnitude", structure="1:3"), **options)  # type: ignore[arg-type]
