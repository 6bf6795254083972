"""oneDNN products: equal to the float64 product, and used only where they are suitable."""

import hashlib
import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from mlprune.errors import BadInputError, ShapeError
from mlprune.numeric import log_probs as module
from mlprune.numeric.log_probs import (
    MAX_CPU_STATES,
    MAX_LOGITS,
    MAX_STATES,
    MIN_WEIGHTS,
    OutputHead,
    draw_tokens,
    has_quick_products,
    has_wide_products,
    quick_linear,
    row_bounds,
    score_on_accelerator,
    target_scores,
    uniform_number,
)
from tests.drawn import drawn
from tests.pretended_gpus import pretended_gpus
from tests.refusals import refused

IN, OUT = 512, MIN_WEIGHTS // 512


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, IN), (7, IN), (2, 5, IN), (0, IN)])
@torch.inference_mode()
def test_a_quick_product_is_the_product_in_float64(shape: tuple[int, ...], bias: bool) -> None:
    inputs, weight, added = drawn(*shape), drawn(OUT, IN, seed=1), drawn(OUT, seed=2) if bias else None
    exact = functional.linear(inputs.double(), weight.double(), None if added is None else added.double())
    result = quick_linear(inputs, weight, added)
    assert result.shape == exact.shape
    torch.testing.assert_close(result.double(), exact, rtol=1e-5, atol=1e-4)


@torch.inference_mode()
def test_rows_of_a_larger_weight_are_multiplied_as_they_lie() -> None:
    inputs, weight = drawn(3, IN), drawn(2 * OUT + 9, IN, seed=1)
    result = quick_linear(inputs, weight[9 : OUT + 9])
    torch.testing.assert_close(result, inputs @ weight[9 : OUT + 9].T, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("why", ["dtype", "small", "gradients", "missing"])
def test_unsuitable_products_have_torchs_own_bits(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dtype = torch.bfloat16 if why == "dtype" else torch.float32
    inputs, weight = drawn(3, IN).to(dtype), drawn(OUT - (why == "small"), IN, seed=1).to(dtype)
    if why == "missing":
        monkeypatch.setattr(module, "has_quick_products", lambda: False)
    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", None, raising=False)
    with torch.set_grad_enabled(why == "gradients"):
        assert torch.equal(quick_linear(inputs, weight), functional.linear(inputs, weight))


@pytest.mark.skipif(not has_quick_products(), reason="this build of torch has no such operation")
@torch.inference_mode()
def test_large_float32_products_are_quick_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", lambda inputs, *_: inputs)
    inputs = drawn(3, IN)
    assert quick_linear(inputs, drawn(OUT, IN)) is inputs


def test_the_pieces_contain_every_token_once_and_keep_the_bound() -> None:
    for max_logits, n_rows in ((1, 3), (12, 3), (7, 2), (100, 5)):
        head = OutputHead(torch.arange(20).reshape(10, 2), torch.arange(10), 1.0, None, max_logits)
        n_columns = head.n_columns(n_rows)
        firsts, weights, biases = zip(*head.pieces(n_columns), strict=True)
        assert firsts == tuple(range(0, 10, n_columns))
        assert torch.equal(torch.cat(weights), head.weight)
        assert torch.equal(torch.cat(biases), head.bias)
        assert n_columns == 1 or n_columns * n_rows <= max_logits


@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_the_cap_bounds_scaled_logits_and_keeps_their_order(scale: float) -> None:
    logits = torch.tensor([[-50.0, -1.0, 0.0, 1.0, 50.0]])
    expected = 2.0 * torch.tanh(scale * logits / 2.0)
    head = OutputHead(torch.ones(5, 1), None, scale, 2.0, 100)
    assert torch.allclose(head.cap_in_place(logits.clone()), expected)
    plain = OutputHead(torch.ones(5, 1), None, scale, None, 100)
    assert torch.equal(plain.cap_in_place(logits.clone()), scale * logits)


def random_case(
    n_states: int, vocabulary: int, *, seed: int = 0, n_targets: int = 20
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Hidden states, weights of a head, and states and targets in random order."""
    generator = torch.Generator().manual_seed(seed)
    hidden, weight = (torch.randn(n, 6, generator=generator) for n in (n_states, vocabulary))
    states, targets = (torch.randint(n, (n_targets,), generator=generator) for n in (n_states, vocabulary))
    return hidden, weight, states, targets


def plain_score(logits: list[float], target: int) -> tuple[float, bool]:
    """Log-probability of a token, and whether it is the first of the most likely ones."""
    highest = max(logits)
    total = highest + math.log(math.fsum(math.exp(logit - highest) for logit in logits))
    return logits[target] - total, logits.index(highest) == target


def plain_logits(row: Tensor, weight: Tensor, bias: Tensor | None, *, scale: float, cap: float | None) -> list[float]:
    logits = [math.fsum(a * b for a, b in zip(row.tolist(), column, strict=True)) for column in weight.tolist()]
    logits = [scale * (logit + (0.0 if bias is None else bias[token].item())) for token, logit in enumerate(logits)]
    return [logit if cap is None else cap * math.tanh(logit / cap) for logit in logits]


@settings(deadline=None, max_examples=25)
@given(
    n_states=st.integers(1, 6),
    vocabulary=st.integers(1, 9),
    max_logits=st.integers(1, 60),
    seed=st.integers(0, 99),
    has_bias=st.booleans(),
    scale=st.sampled_from([1.0, 0.25]),
    cap=st.sampled_from([None, 1.5]),
)
def test_scores_equal_plain_float64_loops_for_any_division_into_parts_and_pieces(
    n_states: int, vocabulary: int, max_logits: int, seed: int, has_bias: bool, scale: float, cap: float | None
) -> None:
    hidden, weight, states, targets = random_case(n_states, vocabulary, seed=seed)
    bias = torch.linspace(-1, 1, vocabulary) if has_bias else None
    head = OutputHead(weight, bias, scale, cap, max_logits)
    on_cpu = target_scores(hidden, head, states=states, targets=targets)
    on_accelerator = score_on_accelerator(hidden, head, states=states, targets=targets)
    for log_probs, is_greedy in ((on_cpu.log_probs, on_cpu.is_greedy), on_accelerator):
        for index, (state, target) in enumerate(zip(states.tolist(), targets.tolist(), strict=True)):
            log_prob, greedy = plain_score(plain_logits(hidden[state], weight, bias, scale=scale, cap=cap), target)
            assert log_probs[index].item() == pytest.approx(log_prob, abs=2e-6)
            assert bool(is_greedy[index]) == greedy


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("cap", [None, 3.0])
def test_a_vocabulary_in_one_piece_gives_the_bits_of_the_cpu(dtype: torch.dtype, cap: float | None) -> None:
    hidden, weight, states, targets = random_case(40, 300, n_targets=90)
    hidden, weight, bias = hidden.to(dtype), weight.to(dtype), torch.linspace(-1, 1, 300).to(dtype)
    found = score_on_accelerator(hidden, OutputHead(weight, bias, 1.0, cap, MAX_LOGITS), states=states, targets=targets)
    expected = target_scores(hidden, OutputHead(weight, bias, 1.0, cap), states=states, targets=targets)
    assert torch.equal(found[0], expected.log_probs)
    assert torch.equal(found[1], expected.is_greedy)


@pytest.mark.parametrize("extreme", [torch.inf, -torch.inf, torch.nan])
def test_logits_that_are_not_finite_give_what_the_cpu_gives(extreme: float) -> None:
    weight = torch.eye(4)
    hidden = torch.tensor([[0.0, 1.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0]])
    bias = torch.tensor([extreme, 0.0, 0.0, 0.0])
    states, targets = torch.arange(2).repeat_interleave(4), torch.arange(4).repeat(2)
    head = OutputHead(weight, bias, 1.0, None, 8)
    found = score_on_accelerator(hidden, head, states=states, targets=targets)
    expected = target_scores(hidden, head, states=states, targets=targets)
    assert torch.equal(found[0].nan_to_num(nan=7.0), expected.log_probs.nan_to_num(nan=7.0))
    assert torch.equal(found[1], expected.is_greedy)


def test_parts_are_few_bounded_and_contain_every_state_once() -> None:
    for vocabulary, n_states, n_parts in (
        (256_008, 474, 1),
        (256_008, 7_644, 8),
        (32_000, 4_096, 1),
        (32_000, 8_192, 2),
    ):
        bounds = row_bounds(
            n_states, OutputHead(torch.empty(vocabulary, 1, device="meta"), None, 1.0, None, MAX_LOGITS)
        )
        sizes = [end - start for start, end in pairwise(bounds)]
        assert (bounds[0], bounds[-1], len(sizes)) == (0, n_states, n_parts)
        assert max(sizes) <= MAX_STATES
        assert max(sizes) * vocabulary <= MAX_LOGITS


def test_no_targets_give_no_scores() -> None:
    asked = dict.fromkeys(("states", "targets"), torch.empty(0, dtype=torch.int64))
    log_probs, is_greedy = score_on_accelerator(
        torch.ones(2, 2), OutputHead(torch.ones(3, 2), None, 1.0, None, 6), **asked
    )
    result = target_scores(torch.ones(2, 2), OutputHead(torch.ones(3, 2)), **asked)
    assert log_probs.shape == is_greedy.shape == result.log_probs.shape == result.is_greedy.shape == (0,)


def test_wide_products_are_used_only_where_torch_has_them() -> None:
    half = torch.ones(2, 2, dtype=torch.bfloat16)
    try:
        works = torch.mm(half, half, out_dtype=torch.float32).dtype == torch.float32
    except NotImplementedError:
        works = False
    assert has_wide_products("cpu") == works
    assert not has_wide_products("xpu")


def test_wide_products_are_not_rounded_to_half_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "mlprune.numeric.log_probs.has_wide_products"
    monkeypatch.setattr(name, lambda device_type: device_type == "cpu")
    monkeypatch.setattr(torch, "mm", lambda rows, columns, *, out_dtype: rows.to(out_dtype) @ columns.to(out_dtype))
    hidden, weight, states, targets = random_case(5, 300)
    hidden, weight, bias = hidden.bfloat16(), weight.bfloat16(), torch.linspace(-1, 1, 300).bfloat16()
    found = score_on_accelerator(
        hidden, OutputHead(weight, bias, 1.0, None, MAX_LOGITS), states=states, targets=targets
    )
    expected = torch.log_softmax(hidden.double() @ weight.double().T + bias.double(), dim=1)[states, targets]
    assert torch.allclose(found[0], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("n_states", "most_kernels", "most_waits"), [(474, 100, 4), (7_644, 1_000, 20)])
def test_a_pretended_gpu_starts_few_kernels_and_the_host_waits_once(
    n_states: int, most_kernels: int, most_waits: int
) -> None:
    """The vocabulary of XGLM and the bound of logits are both divided by 512: as many parts, and so as many kernels."""
    hidden, weight, _, targets = random_case(n_states, 256_008 // 512, n_targets=n_states)
    states = torch.arange(n_states).flip(0)
    expected = torch.log_softmax(hidden.double() @ weight.double().T, dim=1)
    with pretended_gpus() as ledger:
        on_gpu = hidden.to("cuda:0"), OutputHead(weight.to("cuda:0"), max_logits=MAX_LOGITS // 512)
        ledger.clear()
        result = target_scores(*on_gpu, states=states, targets=targets)
        counts = ledger.kernels, ledger.waits, ledger.uploads
    assert torch.allclose(result.log_probs, expected[states, targets], rtol=0, atol=1e-5)  # float32 logits of up to 20
    assert torch.equal(result.is_greedy, expected[states].argmax(dim=1) == targets)
    assert counts[0] <= most_kernels
    assert 1 <= counts[1] <= most_waits
    assert counts[2] == 1


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_an_accelerator_scores_like_float64(dtype: torch.dtype) -> None:
    hidden, weight, states, targets = random_case(600, 5_000, n_targets=2_000)
    hidden, weight = hidden.to(dtype), weight.to(dtype)
    head = OutputHead(weight.cuda(), max_logits=2**20)
    found = target_scores(hidden.cuda(), head, states=states, targets=targets)
    expected = torch.log_softmax(hidden.double() @ weight.double().T, dim=1)[states, targets]
    bound = 1e-4 if dtype == torch.float32 or has_wide_products("cuda") else 0.1
    assert (found.log_probs - expected).abs().max().item() < bound


def test_states_without_targets_and_the_order_of_targets_change_nothing() -> None:
    hidden, weight = random_case(MAX_CPU_STATES + 3, 7)[:2]
    states = torch.tensor([MAX_CPU_STATES + 2, 0, MAX_CPU_STATES, 0])
    targets = torch.tensor([6, 1, 2, 3])
    result = target_scores(hidden, OutputHead(weight), states=states, targets=targets)
    expected = torch.log_softmax(hidden.double() @ weight.double().T, dim=1)[states, targets]
    assert torch.allclose(result.log_probs, expected, atol=1e-6)


def test_a_target_is_not_greedy_if_an_earlier_token_is_as_likely_or_any_token_is_more_likely() -> None:
    logits = torch.tensor([[1.0, 3.0, 2.0, 3.0, 0.0, 3.0, 4.0], [1.0, 3.0, 2.0, 3.0, 0.0, 3.0, -4.0], [1.0] * 7])
    asked = {"states": torch.arange(3).repeat_interleave(7), "targets": torch.arange(7).repeat(3)}
    for max_logits in (1, 2, 4, 6, 100):
        head = OutputHead(logits.T.contiguous(), None, 1.0, None, max_logits)
        on_accelerator = score_on_accelerator(torch.eye(3), head, **asked)[1]
        on_cpu = target_scores(torch.eye(3), head, **asked).is_greedy
        for is_greedy in (on_accelerator, on_cpu):
            assert is_greedy.nonzero().flatten().tolist() == [6, 7 + 1, 14]


def test_half_precision_is_summed_in_float32() -> None:
    hidden, weight = (one.bfloat16() for one in random_case(2, 300)[:2])
    everything = {"states": torch.tensor([0, 1]), "targets": torch.tensor([3, 299])}
    expected = torch.log_softmax((hidden @ weight.T).double(), dim=1)[everything["states"], everything["targets"]]
    result = target_scores(hidden, OutputHead(weight, max_logits=64), **everything)
    assert torch.allclose(result.log_probs, expected, atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"weight": torch.ones(4, 5)},
        {"bias": torch.ones(3)},
        {"states": torch.tensor([0])},
        {"states": torch.tensor([0, 2])},
        {"targets": torch.tensor([0, 4])},
        {"targets": torch.tensor([-1, 0])},
    ],
)
def test_mismatched_shapes_are_an_error(changes: dict[str, Tensor]) -> None:
    given = {"weight": torch.ones(4, 6), "states": torch.tensor([0, 1]), "targets": torch.tensor([0, 3]), **changes}
    with pytest.raises(ShapeError):
        target_scores(torch.ones(2, 6), OutputHead(given.pop("weight"), given.pop("bias", None)), **given)


def test_bounds_and_temperatures_out_of_range_and_missing_numbers_are_errors() -> None:
    asked = {"states": torch.tensor([0]), "targets": torch.tensor([0])}
    for bound in ({"max_logits": 0}, {"softcap": 0.0}):
        with refused(BadInputError, expected="max_logits >= 1, softcap > 0"):
            target_scores(torch.ones(1, 6), OutputHead(torch.ones(2, 6), **bound), **asked)
    with pytest.raises(BadInputError):
        draw_tokens(drawn(2, 3), [0.5, 0.5], temperature=-1)
    with pytest.raises(BadInputError):
        draw_tokens(drawn(2, 3), [0.5], temperature=1)


def drawn_by_loops(row: list[float], uniform: float, temperature: float, banned: tuple[int, ...]) -> int:
    """The first token whose cumulative probability exceeds the number."""
    weights = [0.0 if token in banned else math.exp(value / temperature) for token, value in enumerate(row)]
    reached = 0.0
    for token, weight in enumerate(weights):
        reached += weight / sum(weights)
        if uniform < reached:
            return token
    raise AssertionError("the number is below 1")


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("banned", [(), (0, 6)])
def test_draws_are_those_of_plain_loops(temperature: float, banned: tuple[int, ...]) -> None:
    table = drawn(12, 7) * 2
    uniforms = [uniform_number(3, text, 0) for text in range(12)]
    expected = [
        drawn_by_loops(row, number, temperature, banned) for row, number in zip(table.tolist(), uniforms, strict=True)
    ]
    assert draw_tokens(table, uniforms, temperature=temperature, banned=banned).tolist() == expected
    one_by_one = [
        int(draw_tokens(table[[row]], [uniforms[row]], temperature=temperature, banned=banned)) for row in range(12)
    ]
    assert one_by_one == expected


def test_banned_tokens_are_never_drawn_and_extreme_numbers_give_the_ends() -> None:
    table = torch.zeros(2, 5)
    assert draw_tokens(table, [0.0, 1 - 2**-53], temperature=1.0).tolist() == [0, 4]
    assert draw_tokens(table, [0.0, 1 - 2**-53], temperature=1.0, banned=[0, 4]).tolist() == [1, 3]


def test_temperature_0_is_the_likeliest_token_that_is_not_banned() -> None:
    table = drawn(6, 9)
    assert draw_tokens(table, (), temperature=0).tolist() == table.argmax(dim=1).tolist()
    best = table.argmax(dim=1).tolist()
    assert not set(draw_tokens(table, (), temperature=0, banned=best).tolist()) & set(best)


def test_frequencies_are_the_probabilities() -> None:
    row = drawn(1, 4) * 2
    uniforms = [uniform_number(0, text, 7) for text in range(4000)]
    counts = torch.bincount(draw_tokens(row.expand(4000, 4), uniforms, temperature=1.0), minlength=4) / 4000
    assert counts.tolist() == pytest.approx(row.softmax(dim=1)[0].tolist(), abs=0.03)


def test_numbers_are_hashes_of_seed_text_and_position() -> None:
    digest = hashlib.sha256(b"5:2:11").digest()
    assert uniform_number(5, 2, 11) == (int.from_bytes(digest[:8], "big") // 2**11) / 2**53
    numbers = {uniform_number(seed, text, place) for seed in range(3) for text in range(3) for place in range(3)}
    assert len(numbers) == 27
    assert all(0 <= number < 1 for number in numbers)


@pytest.mark.parametrize("max_logits", [7, 100_000])
@pytest.mark.parametrize("cap", [None, 3.0])
def test_removed_tokens_have_no_probability_and_the_others_share_it(max_logits: int, cap: float | None) -> None:
    hidden, weight = drawn(4, 8), drawn(30, 8, seed=1)
    removed = torch.arange(30) % 3 == 0
    kept = torch.nonzero(~removed).flatten()
    states = torch.arange(4).repeat_interleave(len(kept))
    targets = kept.repeat(4)
    head = OutputHead(weight, None, 1.0, cap, max_logits, removed)
    smaller_head = OutputHead(weight[kept], None, 1.0, cap, max_logits)
    smaller = target_scores(hidden, smaller_head, states=states, targets=torch.arange(len(kept)).repeat(4))
    masked = target_scores(hidden, head, states=states, targets=targets)
    torch.testing.assert_close(masked.log_probs, smaller.log_probs, atol=1e-5, rtol=1e-5)
    assert torch.equal(masked.is_greedy, smaller.is_greedy)
    lost = target_scores(
        hidden, OutputHead(weight, removed=removed), states=torch.tensor([0]), targets=torch.tensor([3])
    )
    assert lost.log_probs.item() == -torch.inf
    other = score_on_accelerator(hidden, head, states=states, targets=targets)
    torch.testing.assert_close(other[0], masked.log_probs, atol=1e-5, rtol=1e-5)
