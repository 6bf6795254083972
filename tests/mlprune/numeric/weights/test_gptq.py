"""GPTQ, compared with a float64 loop that eliminates columns from an explicit inverse, and properties of its codes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mlprune.errors import BadInputError, MlpruneError, ShapeError, StatisticsError
from mlprune.numeric.weights.codes import CodeFormat, Codes
from mlprune.numeric.weights.gptq import gptq, input_factor, nearest
from mlprune.numeric.weights.layer_inputs import layer_error, layer_errors
from mlprune.numeric.weights.sparsegpt import sparsegpt
from tests.drawn import drawn
from tests.refusals import refused

PROPERTY = settings(max_examples=25, deadline=None, derandomize=True, database=None)
SHAPES = {"attention": (320, 160), "up": (384, 48), "down": (128, 200), "expert": (256, 100)}
"""Layer type -> [out, in]: more than a block of columns, few, and rows that groups do not divide."""

LAYOUTS = st.builds(
    CodeFormat, st.sampled_from([3, 4, 8]), st.sampled_from([32, 64, 128, None]), symmetric=st.booleans()
)


def gram(d_in: int, *, n_tokens: int = 0, seed: int = 9) -> Tensor:
    """The Gram matrix of correlated features, float64."""
    mixing = torch.eye(d_in) + 0.3 * drawn(d_in, d_in, seed=seed)
    inputs = (drawn(n_tokens or 4 * d_in, d_in, seed=seed + 1) @ mixing).double()
    return inputs.t() @ inputs


def mask_of(weight: Tensor, products: Tensor, kind: str) -> Tensor | None:
    """A keep mask as wanda, 2:4 and sparsegpt choose it; None for a dense layer."""
    if kind == "dense":
        return None
    if kind == "sparsegpt":
        return sparsegpt(weight, products, sparsity=0.5).keep
    scores = weight.abs() * products.diagonal().sqrt().float()
    groups = scores.reshape(-1, 4 if kind == "2:4" else scores.shape[1])
    lowest = groups.argsort(dim=1)[:, : groups.shape[1] // 2]
    return torch.ones_like(groups, dtype=torch.bool).scatter_(1, lowest, value=False).reshape(weight.shape)


@dataclass
class Looped:
    """Codes of the loop, and the distance of each weight from a rounding tie, in steps."""

    codes: np.ndarray
    distances: np.ndarray


def looped(
    weight: Tensor,
    products: Tensor,
    layout: CodeFormat,
    keep: Tensor | None,
    *,
    by_activation: bool,
    removed: Sequence[int] = (),
) -> Looped:
    """GPTQ by the optimal brain surgeon: after each column, it is eliminated from the inverse of the Hessian.

    Removed columns come first and become 0; groups are those of the others.
    """
    w, hessian = weight.double().numpy().copy(), products.double().numpy().copy()
    kept = np.ones(w.shape, dtype=bool) if keep is None else keep.numpy()
    d_in = w.shape[1]
    others = [j for j in range(d_in) if j not in removed]
    dead = hessian.diagonal() == 0
    hessian /= np.mean([hessian[j, j] for j in others if not dead[j]])
    hessian[dead, dead] = 1
    order = sorted(others, key=lambda j: -products[j, j].item()) if by_activation else others
    inverse = np.linalg.inv(hessian + 0.01 * hessian.diagonal()[others].mean() * np.eye(d_in))
    size = layout.group or d_in
    codes, distances = np.zeros(w.shape, dtype=np.int64), np.ones(w.shape)
    for j in removed:
        w -= w[:, j, None] * inverse[j] / inverse[j, j]
        inverse -= np.outer(inverse[:, j], inverse[j]) / inverse[j, j]
        inverse[j], inverse[:, j] = 0, 0
    first = w * kept
    levels: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for j in order:
        start = others.index(j) // size * size
        group = others[start : start + size]
        if start not in levels:
            is_fixed = by_activation or layout.group is None
            levels[start] = levels_of(first[:, group] if is_fixed else (w * kept)[:, group], layout)
        scale, zero = levels[start]
        steps = w[:, j] / scale
        code = np.clip(np.rint(steps) + zero, 0, 2**layout.bits - 1)
        code[~kept[:, j]] = zero[~kept[:, j]]
        codes[:, j] = code
        distances[kept[:, j], j] = np.abs(np.abs(steps) % 1 - 0.5)[kept[:, j]]
        error = w[:, j] - ((code - zero) * scale).astype(np.float32)
        w -= error[:, None] * inverse[j] / inverse[j, j]
        inverse -= np.outer(inverse[:, j], inverse[j]) / inverse[j, j]
        inverse[j], inverse[:, j] = 0, 0
    return Looped(codes, distances)


def levels_of(weights: np.ndarray, layout: CodeFormat) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.minimum(weights.min(axis=1), 0), np.maximum(weights.max(axis=1), 0)
    half, highest = 2 ** (layout.bits - 1), 2**layout.bits - 1
    scale = np.maximum(-low, high) / (half - 1) if layout.symmetric else (high - low) / highest
    scale = scale.astype(np.float32).astype(np.float64)
    scale[scale == 0] = 1
    zero = np.full_like(scale, half) if layout.symmetric else np.clip(np.rint(-low / scale), 0, highest)
    return scale, zero


@pytest.mark.parametrize("kind", ["dense", "wanda", "2:4", "sparsegpt"])
@pytest.mark.parametrize("layer", SHAPES)
def test_codes_are_those_of_the_loop_except_after_a_rounding_tie(layer: str, kind: str) -> None:
    """At most one row in 1000 differs, and the first code that differs in a row is that of a weight at a tie."""
    weight, products = drawn(*SHAPES[layer], seed=3), gram(SHAPES[layer][1])
    keep = mask_of(weight, products, kind)
    n_rows = n_different = 0
    for layout, by_activation in [
        (CodeFormat(), False),
        (CodeFormat(3, 32, symmetric=False), True),
        (CodeFormat(8, None), False),
    ]:
        factor = input_factor(products, by_activation=by_activation)
        found = gptq(weight, factor, layout=layout, keep=keep, dtype=torch.float32).values.numpy()
        expected = looped(weight, products, layout, keep, by_activation=by_activation)
        order = factor.order.numpy()
        different = (found != expected.codes)[:, order]
        for row in np.flatnonzero(different.any(axis=1)):
            assert expected.distances[row, order[different[row].argmax()]] < 1e-6
            n_different += 1
        n_rows += len(found)
    assert n_different <= n_rows / 1000


@pytest.mark.parametrize("is_masked", [False, True])
@pytest.mark.parametrize("by_activation", [False, True])
@pytest.mark.parametrize("group", [32, 128, None])
def test_codes_without_the_inputs_of_removed_units_are_those_of_the_loop(
    group: int | None, by_activation: bool, is_masked: bool
) -> None:
    """Removed inputs are anywhere in a row of 200; the last group of those that remain is short. Some never act."""
    weight, products = drawn(96, 200, seed=3), gram(200)
    removed = [*range(16, 32), 60, 61, 64, *range(150, 183, 2)]
    for dead in (5, 61):
        products[dead], products[:, dead] = 0, 0
    kept = torch.ones(200, dtype=torch.bool)
    kept[removed] = False
    keep = (drawn(96, 200, seed=5) > -0.5) & kept if is_masked else kept.expand(96, 200)
    layout = CodeFormat(4, group, symmetric=not by_activation)
    factor = input_factor(products, by_activation=by_activation, kept=kept)
    assert factor.n_dead == 1
    codes = gptq(weight, factor, layout=layout, keep=keep, dtype=torch.float32)
    expected = looped(weight, products, layout, keep, by_activation=by_activation, removed=removed)
    order = factor.order.numpy()
    different = (codes.values.numpy() != expected.codes[:, kept.numpy()])[:, order]
    for row in np.flatnonzero(different.any(axis=1)):
        assert expected.distances[:, kept.numpy()][row, order[different[row].argmax()]] < 1e-6
    assert different.any(axis=1).sum() <= 1
    assert codes.scales.shape == (96, layout.n_groups(200 - len(removed)))
    assert not codes.dequantised()[:, removed].any()


@PROPERTY
@given(layout=LAYOUTS, d_in=st.integers(2, 140), seed=st.integers(0, 3))
def test_inputs_without_codes_change_only_the_places_of_the_others(layout: CodeFormat, d_in: int, seed: int) -> None:
    """Without compensation, the codes are those of the layer in which the inputs are cut out."""
    weight, kept = drawn(4, d_in, seed=seed), drawn(1, d_in, seed=seed + 9)[0] > 0
    kept[0] = True
    codes = nearest(weight, layout, kept=kept, dtype=torch.float32)
    alone = nearest(weight[:, kept], layout, dtype=torch.float32)
    again = Codes.of_tensors(codes.tensors())
    for one in (codes, again):
        assert torch.equal(one.dequantised()[:, kept], alone.dequantised())
        assert not one.dequantised()[:, ~kept].any()
        assert torch.equal(one.cut().values, alone.values)
        assert torch.equal(one.cut(torch.tensor([2, 1])).dequantised(), alone.dequantised()[[2, 1]])
    products = gram(d_in)
    products[~kept], products[:, ~kept] = 0, 0
    silent = gptq(weight, input_factor(products, kept=kept), layout=layout, dtype=torch.float32)
    cut = gptq(weight[:, kept], input_factor(products[kept][:, kept]), layout=layout, dtype=torch.float32)
    assert torch.equal(silent.values, cut.values)


def test_weights_that_remain_compensate_for_removed_inputs() -> None:
    weight, products = drawn(24, 96), gram(96)
    kept = torch.arange(96) % 3 > 0
    layout = CodeFormat(8, 32)
    errors = []
    for of_removed in (weight, weight * kept):
        factor = input_factor(products, kept=kept)
        codes = gptq(of_removed, factor, layout=layout, keep=kept.expand(24, 96), dtype=torch.float32)
        errors.append(layer_error(weight, codes.dequantised(), products))
    assert errors[0] < 0.9 * errors[1]


@pytest.mark.parametrize("by_activation", [False, True])
@pytest.mark.parametrize("kind", ["dense", "wanda", "2:4", "sparsegpt"])
def test_the_mean_squared_error_of_the_outputs_is_below_that_of_nearest(kind: str, by_activation: bool) -> None:
    ratios = []
    for seed in range(8):
        weight, products = drawn(24, 96, seed=seed), gram(96, seed=20 + seed)
        keep, layout = mask_of(weight, products, kind), CodeFormat(symmetric=seed % 2 == 0)
        codes = gptq(
            weight, input_factor(products, by_activation=by_activation), layout=layout, keep=keep, dtype=weight.dtype
        )
        plain = nearest(weight, layout, keep=keep, dtype=weight.dtype)
        errors = layer_errors(weight, [codes.dequantised(), plain.dequantised()], products=products)
        ratios.append(errors[0] / errors[1])
    assert np.mean(ratios) < 1


@PROPERTY
@given(layout=LAYOUTS, d_in=st.integers(1, 140), dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float16]))
def test_removed_weights_are_exactly_zero_in_every_format(layout: CodeFormat, d_in: int, dtype: torch.dtype) -> None:
    weight, keep = drawn(5, d_in, seed=d_in).to(dtype), drawn(5, d_in, seed=1) > 0
    for codes in (
        nearest(weight, layout, keep=keep, dtype=dtype),
        gptq(weight, input_factor(gram(d_in)), layout=layout, keep=keep, dtype=dtype),
    ):
        found = codes.dequantised()
        assert found.dtype == dtype
        assert not found[~keep].any()
        assert not nearest(weight * keep, layout, dtype=dtype).dequantised()[~keep].any()


@PROPERTY
@given(layout=LAYOUTS, d_in=st.integers(1, 140))
def test_stored_codes_are_read_as_they_were(layout: CodeFormat, d_in: int) -> None:
    codes = nearest(drawn(3, d_in, seed=d_in), layout, dtype=torch.float32)
    again = Codes.of_tensors(codes.tensors())
    assert torch.equal(again.values, codes.values)
    assert torch.equal(again.dequantised(), codes.dequantised())
    assert again.layout == layout
    words = codes.tensors()["codes"]
    assert (words.dtype, tuple(words.shape)) == (torch.int32, (3, -(-d_in * layout.bits // 32)))


WORDS = [(4, 0x87654321), (8, 0x04030201), (3, 0b11_010_001_000_111_110_101_100_011_010_001)]


@pytest.mark.parametrize(("bits", "word"), WORDS)
def test_the_first_values_are_in_the_lowest_bits(bits: int, word: int) -> None:
    values = (torch.arange(1, 33)[None] % 2**bits).to(torch.uint8)
    codes = Codes(CodeFormat(bits, None), values, torch.ones(1, 1), None)
    assert int(codes.tensors()["codes"][0, 0]) % 2**32 == word


def test_codes_of_four_bits_in_groups_of_64_take_at_most_six_tenths_of_a_byte_per_weight() -> None:
    weight = drawn(64, 576)
    for symmetric in (True, False):
        tensors = nearest(weight, CodeFormat(symmetric=symmetric), dtype=torch.float32).tensors()
        assert sum(tensor.nbytes for tensor in tensors.values()) <= 0.6 * weight.numel()


@PROPERTY
@given(layout=LAYOUTS, d_in=st.integers(1, 140))
def test_dequantised_weights_are_rounded_to_themselves(layout: CodeFormat, d_in: int) -> None:
    """With the levels that they have; symmetric levels are also found again."""
    codes = nearest(drawn(4, d_in, seed=d_in), layout, dtype=torch.float32)
    weights = codes.dequantised()
    if layout.symmetric:
        assert torch.equal(nearest(weights, layout, dtype=torch.float32).dequantised(), weights)
    size = layout.group or d_in
    for number, start in enumerate(range(0, d_in, size)):
        zero = torch.full((4,), layout.middle) if codes.zeros is None else codes.zeros[:, number]
        again = layout.codes(weights[:, start : start + size].t().double(), codes.scales[:, number].double(), zero)
        assert torch.equal(again.t().to(torch.uint8), codes.values[:, start : start + size])


@PROPERTY
@given(layout=LAYOUTS, d_in=st.integers(1, 140))
def test_an_error_of_nearest_is_at_most_half_a_step(layout: CodeFormat, d_in: int) -> None:
    """A zero point that is rounded moves the levels, so that the ends of asymmetric ones are at most a step away."""
    weight = drawn(4, d_in, seed=d_in)
    codes = nearest(weight, layout, dtype=torch.float32)
    steps = codes.scales.repeat_interleave(layout.group or d_in, dim=1)[:, :d_in]
    most = 0.5 if layout.symmetric else 1.0
    assert ((codes.dequantised() - weight).abs() <= (most + 1e-4) * steps).all()


def test_independent_features_are_rounded_to_nearest() -> None:
    weight, products = (
        drawn(6, 70),
        torch.diag(torch.rand(70, generator=torch.Generator().manual_seed(1)).double() + 0.1),
    )
    for by_activation in (False, True):
        codes = gptq(
            weight, input_factor(products, by_activation=by_activation), layout=CodeFormat(), dtype=torch.float32
        )
        assert torch.equal(codes.values, nearest(weight, CodeFormat(), dtype=torch.float32).values)


def test_features_that_are_never_active_are_rounded_to_nearest_and_counted() -> None:
    weight, products = drawn(6, 40), gram(40)
    products[[3, 17]] = 0
    products[:, [3, 17]] = 0
    factor = input_factor(products)
    codes = gptq(weight, factor, layout=CodeFormat(group=None), dtype=torch.float32)
    plain = nearest(weight, CodeFormat(group=None), dtype=torch.float32)
    assert torch.equal(codes.values[:, [3, 17]], plain.values[:, [3, 17]])
    assert not torch.equal(codes.values, plain.values)
    assert factor.n_dead == 2
    unreached = gptq(weight, input_factor(torch.zeros(40, 40)), layout=CodeFormat(), dtype=torch.float32)
    assert torch.equal(unreached.values, nearest(weight, CodeFormat(), dtype=torch.float32).values)


@PROPERTY
@given(factor=st.sampled_from([0.25, 8.0, 1024.0]), n_dead=st.integers(0, 5), by_activation=st.booleans())
def test_codes_do_not_depend_on_the_unit_of_the_activations(factor: float, n_dead: int, by_activation: bool) -> None:
    weight, products = drawn(6, 40), gram(40)
    products[:n_dead] = 0
    products[:, :n_dead] = 0
    codes = [
        gptq(
            weight, input_factor(of_unit, by_activation=by_activation), layout=CodeFormat(), dtype=torch.float32
        ).values
        for of_unit in (products, products * factor)
    ]
    assert torch.equal(*codes)


def test_much_damping_is_rounding_to_nearest() -> None:
    weight, products = drawn(6, 40), gram(40)
    plain = nearest(weight, CodeFormat(), dtype=torch.float32)
    assert torch.equal(
        gptq(weight, input_factor(products, damping=1e9), layout=CodeFormat(), dtype=torch.float32).values, plain.values
    )
    assert not torch.equal(
        gptq(weight, input_factor(products), layout=CodeFormat(), dtype=torch.float32).values, plain.values
    )


def test_a_matrix_that_is_not_positive_definite_is_damped_more_often() -> None:
    indefinite = torch.tensor([[1.0, 2.0], [2.0, 1.0]], dtype=torch.float64)
    assert input_factor(indefinite, damping=0.05).n_dampings == 2
    assert input_factor(gram(8)).n_dampings == 0


def test_columns_in_their_order_of_activation_are_those_of_permuted_columns() -> None:
    weight, products = drawn(6, 40), gram(40)
    order = products.diagonal().argsort(descending=True)
    moved = gptq(
        weight[:, order], input_factor(products[order][:, order]), layout=CodeFormat(group=None), dtype=torch.float32
    )
    codes = gptq(weight, input_factor(products, by_activation=True), layout=CodeFormat(group=None), dtype=torch.float32)
    assert torch.equal(codes.values[:, order], moved.values)


def test_a_row_does_not_depend_on_the_other_rows() -> None:
    weight, factor = drawn(32, 150), input_factor(gram(150))
    together = gptq(weight, factor, layout=CodeFormat(), dtype=torch.float32).values
    alone = torch.cat(
        [gptq(rows, factor, layout=CodeFormat(), dtype=torch.float32).values for rows in torch.split(weight, 8)]
    )
    assert int((together != alone).any(dim=1).sum()) <= 1, "last bits of a product decide at a tie only"


def test_fine_levels_on_a_mask_of_sparsegpt_give_its_error_from_the_dense_and_from_its_weights() -> None:
    """Removed and rounded weights are compensated in one pass, so the order of pruning and rounding does not matter."""
    errors = np.zeros((4, 4))
    for seed in range(4):
        weight, products = drawn(24, 96, seed=seed), gram(96, seed=20 + seed)
        pruned = sparsegpt(weight, products, sparsity=0.5)
        layout, factor = CodeFormat(8, 128), input_factor(products)
        codes = [
            gptq(start, factor, layout=layout, keep=pruned.keep, dtype=torch.float32)
            for start in (weight, pruned.weight)
        ]
        codes.append(nearest(weight, layout, keep=pruned.keep, dtype=torch.float32))
        weights = [pruned.weight, *(one.dequantised() for one in codes)]
        errors[seed] = [layer_error(weight, changed, products) for changed in weights]
    of_sparsegpt, from_dense, from_pruned, of_nearest = errors.mean(axis=0)
    assert [from_dense, from_pruned] == pytest.approx([of_sparsegpt] * 2, rel=0.02)
    assert of_nearest > 1.2 * of_sparsegpt


@pytest.mark.parametrize(
    ("kind", "call"),
    [
        (BadInputError, lambda: input_factor(gram(4), damping=0.0)),
        (ShapeError, lambda: input_factor(torch.ones(3, 4))),
        (StatisticsError, lambda: input_factor(gram(4) * float("nan"))),
        (
            BadInputError,
            lambda: gptq(drawn(2, 4), input_factor(gram(4)), layout=CodeFormat(4, 48), dtype=torch.float32),
        ),
        (ShapeError, lambda: gptq(drawn(2, 5), input_factor(gram(4)), layout=CodeFormat(), dtype=torch.float32)),
        (ShapeError, lambda: nearest(drawn(2, 5), CodeFormat(), keep=drawn(2, 4) > 0, dtype=torch.float32)),
        (StatisticsError, lambda: nearest(drawn(2, 5) / 0, CodeFormat(), dtype=torch.float32)),
        (ShapeError, lambda: Codes.of_tensors({"codes": torch.zeros(1, 1, dtype=torch.int32)})),
    ],
)
def test_impossible_input_is_refused(kind: type[MlpruneError], call: object) -> None:
    assert callable(call)
    with refused(kind):
        call()


def test_codes_whose_parts_do_not_fit_together_are_refused() -> None:
    tensors = nearest(drawn(2, 40), CodeFormat(), dtype=torch.float32).tensors()
    for part in (
        {"codes": tensors["codes"][:, 1:]},
        {"kept": torch.ones(39, dtype=torch.bool)},
        {"kept": torch.ones(40)},
    ):
        with refused(ShapeError):
            Codes.of_tensors({**tensors, **part})
