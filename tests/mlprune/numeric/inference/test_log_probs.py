"""Log-probabilities over pieces of the vocabulary, compared with a float64 softmax."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mlprune.errors import BadInputError, ShapeError
from mlprune.numeric.inference.log_probs import MAX_STATES, target_scores


def case(n_states: int, vocabulary: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n_states, 6, generator=generator), torch.randn(vocabulary, 6, generator=generator)


def written_out(hidden: Tensor, weight: Tensor, state: int, target: int, *, bias: Tensor | None, cap: float | None):
    """Log-probability, and whether no earlier token is as likely and no later token is more likely."""
    logits = []
    for token in range(weight.shape[0]):
        logit = sum(
            a * b for a, b in zip(hidden[state].double().tolist(), weight[token].double().tolist(), strict=True)
        )
        logit += 0.0 if bias is None else bias[token].item()
        logits.append(logit if cap is None else cap * math.tanh(logit / cap))
    highest = max(logits)
    total = highest + math.log(sum(math.exp(logit - highest) for logit in logits))
    return logits[target] - total, logits.index(highest) == target


@settings(deadline=None, max_examples=25)
@given(
    n_states=st.integers(1, 5),
    vocabulary=st.integers(1, 9),
    max_logits=st.integers(1, 50),
    seed=st.integers(0, 99),
    has_bias=st.booleans(),
    cap=st.sampled_from([None, 1.5]),
)
def test_scores_equal_the_softmax_for_any_size_of_pieces(
    n_states: int, vocabulary: int, max_logits: int, seed: int, has_bias: bool, cap: float | None
) -> None:
    hidden, weight = case(n_states, vocabulary, seed=seed)
    bias = torch.randn(vocabulary, generator=torch.Generator().manual_seed(seed)) if has_bias else None
    states = torch.arange(n_states).repeat_interleave(vocabulary)
    targets = torch.arange(vocabulary).repeat(n_states)
    options = {"head_bias": bias, "softcap": cap, "max_logits": max_logits}
    result = target_scores(hidden, weight, states=states, targets=targets, **options)
    for place, (state, target) in enumerate(zip(states.tolist(), targets.tolist(), strict=True)):
        log_prob, is_greedy = written_out(hidden, weight, state, target, bias=bias, cap=cap)
        assert result.log_probs[place].item() == pytest.approx(log_prob, abs=2e-6)
        assert bool(result.is_greedy[place]) == is_greedy


def test_states_without_targets_and_the_order_of_targets_change_nothing() -> None:
    hidden, weight = case(MAX_STATES + 3, 7)
    states = torch.tensor([MAX_STATES + 2, 0, MAX_STATES, 0])
    targets = torch.tensor([6, 1, 2, 3])
    result = target_scores(hidden, weight, states=states, targets=targets)
    expected = torch.log_softmax(hidden.double() @ weight.double().T, dim=1)[states, targets]
    assert torch.allclose(result.log_probs, expected, atol=1e-6)


def test_of_equal_tokens_the_first_is_the_greedy_one() -> None:
    hidden, weight = torch.ones(1, 2), torch.ones(5, 2)
    both = {"states": torch.tensor([0, 0]), "targets": torch.tensor([0, 4])}
    for max_logits in (1, 2, 100):
        assert target_scores(hidden, weight, **both, max_logits=max_logits).is_greedy.tolist() == [True, False]


def test_a_target_is_not_greedy_if_an_earlier_token_is_as_likely_or_any_token_is_more_likely() -> None:
    logits = torch.tensor([[1.0, 3.0, 2.0, 3.0, 0.0, 3.0, 4.0], [1.0, 3.0, 2.0, 3.0, 0.0, 3.0, -4.0]])
    states = torch.arange(2).repeat_interleave(7)
    asked = {"states": states, "targets": torch.arange(7).repeat(2)}
    for max_logits in (2, 4, 6, 100):
        result = target_scores(torch.eye(2), logits.T.contiguous(), **asked, max_logits=max_logits)
        assert result.is_greedy.nonzero().flatten().tolist() == [6, 7 + 1]


def test_half_precision_is_summed_in_float32() -> None:
    hidden, weight = (one.bfloat16() for one in case(2, 300))
    everything = {"states": torch.tensor([0, 1]), "targets": torch.tensor([3, 299])}
    expected = torch.log_softmax((hidden @ weight.T).double(), dim=1)[everything["states"], everything["targets"]]
    result = target_scores(hidden, weight, **everything, max_logits=64)
    assert torch.allclose(result.log_probs, expected, atol=1e-5)


def test_no_targets_give_no_scores() -> None:
    none = torch.empty(0, dtype=torch.int64)
    result = target_scores(*case(2, 3), states=none, targets=none)
    assert result.log_probs.shape == result.is_greedy.shape == (0,)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"weight": torch.ones(4, 5)}, "do not fit the head"),
        ({"bias": torch.ones(3)}, "bias does not fit"),
        ({"states": torch.tensor([0])}, "targets do not fit"),
        ({"states": torch.tensor([0, 2])}, "a state does not exist"),
        ({"targets": torch.tensor([0, 4])}, "a target does not exist"),
        ({"targets": torch.tensor([-1, 0])}, "a target does not exist"),
    ],
)
def test_mismatched_shapes_are_an_error(changes: dict[str, Tensor], words: str) -> None:
    hidden, weight = case(2, 4)
    given = {"states": torch.tensor([0, 1]), "targets": torch.tensor([0, 3]), "weight": weight, **changes}
    weight, bias = given.pop("weight"), given.pop("bias", None)
    with pytest.raises(ShapeError, match=words):
        target_scores(hidden, weight, **given, head_bias=bias)


@pytest.mark.parametrize("bound", [{"max_logits": 0}, {"softcap": 0.0}])
def test_a_bound_that_is_not_positive_is_an_error(bound: dict[str, float]) -> None:
    with pytest.raises(BadInputError, match="out of range"):
        target_scores(*case(1, 2), states=torch.tensor([0]), targets=torch.tensor([0]), **bound)
