"""The accelerator's way of scoring targets, run on the CPU, compared with plain float64 loops and the CPU's way."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mlprune.numeric.inference.accelerator_log_probs import (
    MAX_LOGITS,
    MAX_STATES,
    has_wide_products,
    row_bounds,
    score_on_accelerator,
)
from mlprune.numeric.inference.log_probs import target_scores
from mlprune.numeric.inference.output_head import OutputHead
from tests.pretended_gpus import pretended_gpus


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


@settings(deadline=None, max_examples=25)
@given(
    n_states=st.integers(1, 6),
    vocabulary=st.integers(1, 9),
    max_logits=st.integers(1, 60),
    seed=st.integers(0, 99),
    has_bias=st.booleans(),
    cap=st.sampled_from([None, 1.5]),
)
def test_scores_equal_plain_float64_loops_for_any_division_into_parts_and_pieces(
    n_states: int, vocabulary: int, max_logits: int, seed: int, has_bias: bool, cap: float | None
) -> None:
    hidden, weight, states, targets = random_case(n_states, vocabulary, seed=seed)
    bias = torch.linspace(-1, 1, vocabulary) if has_bias else None
    head = OutputHead(weight, bias, cap, max_logits)
    log_probs, is_greedy = score_on_accelerator(hidden, head, states=states, targets=targets)
    for index, (state, target) in enumerate(zip(states.tolist(), targets.tolist(), strict=True)):
        row = hidden[state].double().tolist()
        logits = [math.fsum(a * b for a, b in zip(row, column, strict=True)) for column in weight.double().tolist()]
        logits = [logit + (0.0 if bias is None else bias[token].item()) for token, logit in enumerate(logits)]
        logits = [logit if cap is None else cap * math.tanh(logit / cap) for logit in logits]
        log_prob, greedy = plain_score(logits, target)
        assert log_probs[index].item() == pytest.approx(log_prob, abs=2e-6)
        assert bool(is_greedy[index]) == greedy


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("cap", [None, 3.0])
def test_a_vocabulary_in_one_piece_gives_the_bits_of_the_cpu(dtype: torch.dtype, cap: float | None) -> None:
    hidden, weight, states, targets = random_case(40, 300, n_targets=90)
    hidden, weight, bias = hidden.to(dtype), weight.to(dtype), torch.linspace(-1, 1, 300).to(dtype)
    found = score_on_accelerator(hidden, OutputHead(weight, bias, cap, MAX_LOGITS), states=states, targets=targets)
    expected = target_scores(hidden, weight, states=states, targets=targets, head_bias=bias, softcap=cap)
    assert torch.equal(found[0], expected.log_probs)
    assert torch.equal(found[1], expected.is_greedy)


def test_of_equal_tokens_in_different_pieces_the_first_is_greedy() -> None:
    head = OutputHead(torch.ones(5, 2), None, None, 2)
    states, targets = torch.tensor([0, 0, 0]), torch.tensor([4, 0, 2])
    assert score_on_accelerator(torch.ones(1, 2), head, states=states, targets=targets)[1].tolist() == [
        False,
        True,
        False,
    ]


@pytest.mark.parametrize("extreme", [torch.inf, -torch.inf, torch.nan])
def test_logits_that_are_not_finite_give_what_the_cpu_gives(extreme: float) -> None:
    weight = torch.eye(4)
    hidden = torch.tensor([[0.0, 1.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0]])
    bias = torch.tensor([extreme, 0.0, 0.0, 0.0])
    states, targets = torch.arange(2).repeat_interleave(4), torch.arange(4).repeat(2)
    found = score_on_accelerator(hidden, OutputHead(weight, bias, None, 8), states=states, targets=targets)
    expected = target_scores(hidden, weight, states=states, targets=targets, head_bias=bias, max_logits=8)
    assert torch.equal(found[0].nan_to_num(nan=7.0), expected.log_probs.nan_to_num(nan=7.0))
    assert torch.equal(found[1], expected.is_greedy)


def test_parts_are_few_bounded_and_contain_every_state_once() -> None:
    for vocabulary, n_states, n_parts in (
        (256_008, 474, 1),
        (256_008, 7_644, 8),
        (32_000, 4_096, 1),
        (32_000, 8_192, 2),
    ):
        bounds = row_bounds(n_states, OutputHead(torch.empty(vocabulary, 1, device="meta"), None, None, MAX_LOGITS))
        sizes = [end - start for start, end in pairwise(bounds)]
        assert (bounds[0], bounds[-1], len(sizes)) == (0, n_states, n_parts)
        assert max(sizes) <= MAX_STATES
        assert max(sizes) * vocabulary <= MAX_LOGITS


def test_no_targets_give_no_scores() -> None:
    none = torch.empty(0, dtype=torch.int64)
    head = OutputHead(torch.ones(3, 2), None, None, 6)
    found = score_on_accelerator(torch.ones(2, 2), head, states=none, targets=none)
    assert found[0].shape == found[1].shape == (0,)


def test_wide_products_are_used_only_where_torch_has_them() -> None:
    half = torch.ones(2, 2, dtype=torch.bfloat16)
    try:
        works = torch.mm(half, half, out_dtype=torch.float32).dtype == torch.float32
    except NotImplementedError:
        works = False
    assert has_wide_products("cpu") == works
    assert not has_wide_products("xpu")


def test_wide_products_are_not_rounded_to_half_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "mlprune.numeric.inference.accelerator_log_probs.has_wide_products"
    monkeypatch.setattr(name, lambda device_type: device_type == "cpu")
    monkeypatch.setattr(torch, "mm", lambda rows, columns, *, out_dtype: rows.to(out_dtype) @ columns.to(out_dtype))
    hidden, weight, states, targets = random_case(5, 300)
    hidden, weight, bias = hidden.bfloat16(), weight.bfloat16(), torch.linspace(-1, 1, 300).bfloat16()
    found = score_on_accelerator(hidden, OutputHead(weight, bias, None, MAX_LOGITS), states=states, targets=targets)
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
        on_gpu = hidden.to("cuda:0"), weight.to("cuda:0")
        ledger.clear()
        result = target_scores(*on_gpu, states=states, targets=targets, max_logits=MAX_LOGITS // 512)
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
    found = target_scores(hidden.cuda(), weight.cuda(), states=states, targets=targets, max_logits=2**20)
    expected = torch.log_softmax(hidden.double() @ weight.double().T, dim=1)[states, targets]
    bound = 1e-4 if dtype == torch.float32 or has_wide_products("cuda") else 0.1
    assert (found.log_probs - expected).abs().max().item() < bound
