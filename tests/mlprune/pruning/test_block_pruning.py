"""Inputs, reconstruction and refinement of a block: factors by loops, masks, weights, and what a refiner may not do."""

import hashlib
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from mlprune.errors import PermanentError, StatisticsError
from mlprune.methods import AlpsParameters, SparseGptParameters, VarianceParameters
from mlprune.numeric.refinement.refined_layer import RefinedLayer
from mlprune.numeric.refinement.registry import REFINER_FUNCTIONS
from mlprune.numeric.weights.alps import alps
from mlprune.numeric.weights.layer_inputs import LayerInputs
from mlprune.numeric.weights.sparsegpt import sparsegpt
from mlprune.pruning.block_inputs import BlockInputs, demonstration_weights, feature_factors
from mlprune.pruning.block_pruning import PruningMethod, pruned_block, reconstruct_block
from mlprune.pruning.scoring import PrunedBlock
from mlprune.pruning.spec import RefinementSpec, ScoreSpec, StatisticsSelection
from tests.level_masks import keep_masks
from tests.planted_refiner import NAME, PlantedParameters, plant
from tests.refusals import refused
from tests.tiny_models import ARCHITECTURES

XGLM = ARCHITECTURES["xglm"].kinds[0]
D_IN, D_OUT = 8, 6


def block_weights() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {layer: torch.randn(D_OUT, D_IN, generator=generator).to(torch.bfloat16) for layer in XGLM.layers}


def pruned(refinement: RefinementSpec | None, *, structure: str = "row", **options: Any) -> PrunedBlock:
    weights = block_weights()
    sparsities = {layer: (0.0 if layer == "fc2" else 0.5,) for layer in weights}
    method = PruningMethod(ScoreSpec("magnitude", structure), refinement)
    return pruned_block(
        weights, method, sparsities=sparsities, inputs=BlockInputs(**options), block=0, architecture=XGLM
    )


@pytest.mark.parametrize("structure", ["row", "2:4"])
def test_a_refined_mask_is_that_of_the_refiner_at_equal_sparsity(
    monkeypatch: pytest.MonkeyPatch, structure: str
) -> None:
    plant(monkeypatch)
    before, after = pruned(None, structure=structure), pruned(RefinementSpec(NAME), structure=structure)
    assert set(after.refined) == set(XGLM.layers) - {"fc2"}
    assert after.weights == {}
    for layer, keep in keep_masks(after.levels, level=0).items():
        mask = keep_masks(before.levels, level=0)[layer]
        assert torch.equal(keep.sum(dim=1), mask.sum(dim=1))
        assert (keep != mask).sum(dim=1).tolist() == [0 if layer == "fc2" else 2] * D_OUT
        assert after.levels[layer].sparsities == before.levels[layer].sparsities


def test_new_weights_have_the_dtype_of_the_layer_and_zeros_where_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, changes_weights=True)
    after = pruned(RefinementSpec(NAME, PlantedParameters(2.0)))
    assert set(after.weights) == set(XGLM.layers) - {"fc2"}
    for layer, weight in after.weights.items():
        keep = keep_masks(after.levels, level=0)[layer]
        assert weight.dtype == torch.bfloat16
        assert torch.equal(weight, block_weights()[layer] * 2 * keep)


def test_the_refiner_gets_the_statistics_of_the_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    seen = {}

    def note(inputs: Any, keep: Tensor, **_: Any) -> RefinedLayer:
        seen[inputs.layer] = inputs
        return RefinedLayer(keep)

    monkeypatch.setitem(REFINER_FUNCTIONS, NAME, note)  # type: ignore[arg-type]
    products = {name: torch.eye(D_IN, dtype=torch.float64) * n for n, name in enumerate(XGLM.input_names)}
    gradients = {layer: torch.full((D_OUT, D_IN), float(n)) for n, layer in enumerate(XGLM.layers)}
    pruned(RefinementSpec(NAME), products=products, gradients=gradients)
    for layer, inputs in seen.items():
        assert inputs.products is products[XGLM.input_of(layer)]
        assert inputs.gradients is gradients[layer]
        assert (inputs.block, inputs.factors, inputs.moments) == (0, None, None)


def one_more(keep: Tensor) -> RefinedLayer:
    more = keep.clone()
    more[0] = True
    return RefinedLayer(more)


def moved_to_another_group(keep: Tensor) -> RefinedLayer:
    moved = keep.clone()
    moved[0] = torch.tensor([True] * 4 + [False] * 4)
    return RefinedLayer(moved)


@pytest.mark.parametrize(
    ("structure", "change"),
    [
        ("row", one_more),
        ("2:4", moved_to_another_group),
        ("row", lambda keep: RefinedLayer(keep.float())),
        ("row", lambda keep: RefinedLayer(keep, torch.ones(keep.shape))),
        ("row", lambda keep: RefinedLayer(keep, torch.zeros(keep.shape))),
    ],
)
def test_a_refiner_that_breaks_its_contract_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, structure: str, change: Callable[[Tensor], RefinedLayer]
) -> None:
    plant(monkeypatch)
    monkeypatch.setitem(REFINER_FUNCTIONS, NAME, lambda _inputs, keep, **_: change(keep))  # type: ignore[arg-type]
    with refused(PermanentError, refiner=NAME):
        pruned(RefinementSpec(NAME), structure=structure)


@pytest.fixture
def weights() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {layer: torch.randn(D_OUT, D_IN, generator=generator) for layer in XGLM.layers}


def products(seed: int = 1, n_tokens: int = 40) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs = {name: torch.randn(n_tokens, D_IN, generator=generator).double() for name in XGLM.input_names}
    return {name: one.t() @ one for name, one in inputs.items()}


def layer_inputs(weights: dict[str, Tensor], grams: dict[str, Tensor]) -> dict[str, LayerInputs]:
    inputs = BlockInputs(products=grams)
    return {layer: inputs.of_layer(layer, weight, block=0, architecture=XGLM) for layer, weight in weights.items()}


@pytest.mark.parametrize(("structure", "damping"), [("matrix", None), ("matrix", 0.1), ("row", None), ("2:4", None)])
def test_every_layer_is_rewritten_with_the_products_of_its_input(
    weights: dict[str, Tensor], structure: str, damping: float | None
) -> None:
    parameters = SparseGptParameters() if damping is None else SparseGptParameters(damping)
    choice = ScoreSpec("sparsegpt", structure, score_parameters=parameters)
    grams = products()
    levels, changed = reconstruct_block(layer_inputs(weights, grams), choice, dict.fromkeys(weights, (0.5,)))
    masks = keep_masks(levels, level=0)
    for layer, weight in weights.items():
        options = {} if damping is None else {"damping": damping}
        expected = sparsegpt(weight, grams[XGLM.input_of(layer)], sparsity=0.5, structure=structure, **options)
        assert torch.equal(masks[layer], expected.keep)
        assert torch.equal(changed[layer], expected.weight)
        assert (changed[layer][~masks[layer]] == 0).all()
        assert not torch.equal(changed[layer][masks[layer]], weight[masks[layer]])
        assert (levels[layer].n_removed, levels[layer].n_dampings) == ((D_OUT * D_IN // 2,), 0)


def test_alps_takes_all_parameters_of_its_score(weights: dict[str, Tensor]) -> None:
    parameters = AlpsParameters(damping=0.1, penalty=0.3, max_iterations=7, gradient_steps=1)
    grams = products()
    choice = ScoreSpec("alps", "2:4", score_parameters=parameters)
    levels, changed = reconstruct_block(layer_inputs(weights, grams), choice, dict.fromkeys(weights, (0.5,)))
    for layer, weight in weights.items():
        gram = grams[XGLM.input_of(layer)]
        expected = alps(weight, gram, sparsity=0.5, structure="2:4", parameters=parameters)
        assert torch.equal(changed[layer], expected.weight)
        assert torch.equal(keep_masks(levels, level=0)[layer], expected.keep)
        for name in asdict(parameters):
            other = replace(parameters, **{name: getattr(AlpsParameters(), name)})
            result = alps(weight, gram, sparsity=0.5, structure="2:4", parameters=other)
            assert not torch.equal(result.weight, expected.weight)


def test_a_layer_that_is_left_out_has_no_new_weights(weights: dict[str, Tensor]) -> None:
    sparsities = {**dict.fromkeys(weights, (0.5,)), "fc1": (0.0,)}
    levels, changed = reconstruct_block(layer_inputs(weights, products()), ScoreSpec("sparsegpt", "matrix"), sparsities)
    assert keep_masks(levels, level=0)["fc1"].all()
    assert set(changed) == set(weights) - {"fc1"}
    assert (levels["fc1"].n_removed, levels["fc1"].n_dampings) == ((0,), None)


def test_new_weights_have_the_dtype_of_the_old(weights: dict[str, Tensor]) -> None:
    narrow = {layer: one.bfloat16() for layer, one in weights.items()}
    _, changed = reconstruct_block(
        layer_inputs(narrow, products()), ScoreSpec("sparsegpt", "matrix"), dict.fromkeys(weights, (0.5,))
    )
    assert {one.dtype for one in changed.values()} == {torch.bfloat16}


def test_dampings_of_a_hessian_that_is_not_positive_definite_are_counted(weights: dict[str, Tensor]) -> None:
    grams = products()
    grams["fc1"] = grams["fc1"] - 60.0 * torch.ones(D_IN, D_IN) + 60.0 * torch.eye(D_IN)
    assert torch.linalg.eigvalsh(grams["fc1"]).min() < -1
    levels, _ = reconstruct_block(
        layer_inputs(weights, grams), ScoreSpec("sparsegpt", "matrix"), dict.fromkeys(weights, (0.5,))
    )
    assert levels["fc1"].n_dampings is not None
    assert levels["fc1"].n_dampings > 0
    assert levels["fc2"].n_dampings == 0


def test_products_that_cannot_be_are_an_error(weights: dict[str, Tensor]) -> None:
    grams = {**products(), "fc1": torch.full((D_IN, D_IN), torch.nan, dtype=torch.float64)}
    with pytest.raises(StatisticsError):
        reconstruct_block(
            layer_inputs(weights, grams), ScoreSpec("sparsegpt", "matrix"), dict.fromkeys(weights, (0.5,))
        )


def test_a_layer_without_a_gram_matrix_is_an_error(weights: dict[str, Tensor]) -> None:
    inputs = {layer: LayerInputs(one, None, 2, layer) for layer, one in weights.items()}
    with refused(StatisticsError, layer="self_attn.q_proj", block=2):
        reconstruct_block(inputs, ScoreSpec("sparsegpt", "matrix"), dict.fromkeys(weights, (0.5,)))


N, N_FEATURES = 5, 4
INPUTS = ("self_attn.q_proj", "fc1")


def statistics(seed: int, n: int = N) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.rand(n, N_FEATURES, generator=generator) + 0.1 for name in INPUTS}


def mean(rows: Tensor, counts: list[int] | None = None) -> list[float]:
    """Mean square of every feature, demonstration i counted counts[i] times."""
    times = counts or [1] * len(rows)
    return [sum(c * row[j].item() for c, row in zip(times, rows, strict=True)) / sum(times) for j in range(N_FEATURES)]


def drawn(n: int, seed: int) -> list[int]:
    """How often each of n demonstrations is drawn by a bootstrap."""
    draws = [int(hashlib.sha256(f"{seed}:{i}".encode()).hexdigest(), 16) % n for i in range(n)]
    return [draws.count(index) for index in range(n)]


def close(result: Tensor, expected: list[float]) -> bool:
    assert result.dtype == torch.float32
    return result.tolist() == pytest.approx(expected, rel=1e-6)


def test_one_set_gives_the_norms_over_all_its_demonstrations() -> None:
    sums = statistics(0)
    result = feature_factors([sums], selection=StatisticsSelection())
    for name in INPUTS:
        norms, n_silent = result[name]
        assert close(norms, [math.sqrt(sum(sums[name][n][j].item() for n in range(N))) for j in range(N_FEATURES)])
        assert n_silent == 0


def test_only_the_first_demonstrations_count_if_the_selection_has_a_number() -> None:
    sums = statistics(0)
    first = feature_factors([{name: one[:3] for name, one in sums.items()}], selection=StatisticsSelection())
    result = feature_factors([sums], selection=StatisticsSelection(n_demonstrations=3))
    assert all(torch.equal(result[name][0], first[name][0]) for name in INPUTS)


@pytest.mark.parametrize("first", [None, 4])
def test_a_bootstrap_counts_demonstrations_as_often_as_they_are_drawn(first: int | None) -> None:
    sums, n = statistics(0), first or N
    counts = drawn(n, seed=3) + [0] * (N - n)
    assert max(counts) > 1
    result = feature_factors([sums], selection=StatisticsSelection(n_demonstrations=first, resample_seed=3))
    for name in INPUTS:
        expected = [math.sqrt(sum(counts[i] * sums[name][i][j].item() for i in range(N))) for j in range(N_FEATURES)]
        assert close(result[name][0], expected)


def test_weights_are_none_if_every_demonstration_counts_once() -> None:
    assert demonstration_weights(N, StatisticsSelection()) is None
    assert demonstration_weights(N, StatisticsSelection(n_demonstrations=N)) is None
    weights = demonstration_weights(N, StatisticsSelection(n_demonstrations=2))
    assert weights is not None
    assert weights.tolist() == [1, 1, 0, 0, 0]
    resampled = demonstration_weights(N, StatisticsSelection(resample_seed=1))
    assert resampled is not None
    assert resampled.tolist() == drawn(N, 1)


def test_a_set_that_is_smaller_than_asked_is_an_error() -> None:
    with refused(StatisticsError, expected="samples at most 5", got=6):
        feature_factors([statistics(0)], selection=StatisticsSelection(n_demonstrations=N + 1))


def test_statistics_that_are_not_sums_of_squares_are_an_error() -> None:
    negative = {name: -one for name, one in statistics(0).items()}
    for reading, sets in (
        (StatisticsSelection(), [negative]),
        (StatisticsSelection(aggregation="mean"), [statistics(1), negative]),
    ):
        with refused(StatisticsError, feature=0, got=-0.5962566137313843):
            feature_factors(sets, selection=reading)


SHARES = (0.25, 0.75)


@pytest.mark.parametrize(
    ("how", "shares"),
    [("mean", ()), ("mean", SHARES), ("max", ()), ("variance", ()), ("pooled", ()), ("pooled", SHARES)],
)
def test_several_sets_give_factors_by_the_formula_of_the_aggregation(how: str, shares: tuple[float, ...]) -> None:
    one, other = statistics(1), statistics(2, n=3)
    options = {"aggregation_parameters": VarianceParameters(2.0)} if how == "variance" else {}
    reading = StatisticsSelection(aggregation=how, shares=shares, **options)  # type: ignore[arg-type]
    result = feature_factors([one, other], selection=reading)
    p = shares or (0.5, 0.5)
    for name in INPUTS:
        squares = list(zip(mean(one[name]), mean(other[name]), strict=True))
        norms = [(math.sqrt(a), math.sqrt(b)) for a, b in squares]
        means = [p[0] * a + p[1] * b for a, b in norms]
        expected = {
            "mean": means,
            "max": [max(pair) for pair in norms],
            "variance": [
                m + 2.0 * (0.5 * (a - m) ** 2 + 0.5 * (b - m) ** 2) for (a, b), m in zip(norms, means, strict=True)
            ],
            "pooled": [math.sqrt(p[0] * a + p[1] * b) for a, b in squares],
        }
        assert close(result[name][0], expected[how])


@pytest.mark.parametrize("how", [None, "mean", "pooled"])
def test_contrast_norms_are_made_for_each_set_and_then_aggregated(how: str | None) -> None:
    sets, code = [statistics(1), statistics(2)][: 2 if how else 1], statistics(3)
    code["fc1"][:, 2] = 0
    result = feature_factors(sets, selection=StatisticsSelection(aggregation=how), contrast=code)  # type: ignore[arg-type]
    for name in INPUTS:
        against = mean(code[name])
        targets = [mean(one[name]) for one in sets]
        if how == "pooled":
            targets = [[sum(column) / 2 for column in zip(*targets, strict=True)]]
        norms = [
            [math.sqrt(t * t / c) if c else math.sqrt(t) for t, c in zip(target, against, strict=True)]
            for target in targets
        ]
        assert close(result[name][0], [sum(column) / len(norms) for column in zip(*norms, strict=True)])
        assert result[name][1] == (1 if name == "fc1" else 0)


def test_a_reading_counts_demonstrations_of_the_contrast_set_too() -> None:
    target, code = statistics(1), statistics(2)
    whole = feature_factors(
        [{name: one[:2] for name, one in target.items()}],
        selection=StatisticsSelection(),
        contrast={name: one[:2] for name, one in code.items()},
    )
    result = feature_factors([target], selection=StatisticsSelection(n_demonstrations=2), contrast=code)
    assert all(torch.equal(result[name][0], whole[name][0]) for name in INPUTS)
