"""Divergences: equal to plain float64 loops, exactly 0 for equal states, and the same in any pieces."""

import math
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from mlprune.capabilities.distance import divergence as module
from mlprune.capabilities.distance.divergence import MEASURES, distances
from mlprune.capabilities.distance.kernels import exponential
from mlprune.errors import ShapeError
from mlprune.numeric.log_probs import OutputHead, TargetScores, target_scores
from tests.drawn import drawn
from tests.pretended_gpus import pretended_gpus
from tests.refusals import refused

N_TOKENS, N_STATES, D = 61, 9, 8


@dataclass(frozen=True)
class Case:
    """States of two models at the same positions, and their head."""

    head: OutputHead
    variant: Tensor
    dense: Tensor
    states: Tensor
    targets: Tensor

    def measured(self) -> TargetScores:
        """The result of the kernel."""
        with torch.inference_mode():
            return distances(self.variant, self.dense, (self.head,) * 2, states=self.states, targets=self.targets)

    def logits(self, hidden: Tensor) -> list[list[float]]:
        """The logits of all states, as the head computes them in the dtype of the model."""
        with torch.inference_mode():
            product = hidden @ self.head.weight.T
            product = product if self.head.bias is None else product + self.head.bias
            scaled = (product * self.head.scale).double()
            cap = self.head.softcap
            return (scaled if cap is None else cap * torch.tanh(scaled / cap)).tolist()


def case(*, size: float = 1.0, far: float = 0.3, dtype: torch.dtype = torch.float32, **head: object) -> Case:
    """Return a case with states `far` apart."""
    weight = drawn(N_TOKENS, D, seed=3).to(dtype) * size
    dense = drawn(N_STATES, D, seed=4).to(dtype)
    return Case(
        OutputHead(weight, **head),
        dense + far * drawn(N_STATES, D, seed=5).to(dtype),
        dense,
        torch.tensor([0, 0, 3, 8, 7, 7, 2]),
        torch.tensor([1, 5, 60, 0, 7, 8, 30]),
    )


def log_softmax(row: list[float], kept: list[int]) -> dict[int, float]:
    """Token -> log-probability over the kept tokens, in plain loops."""
    largest = max(row[token] for token in kept)
    total = largest + math.log(math.fsum(math.exp(row[token] - largest) for token in kept))
    return {token: row[token] - total for token in kept}


def looped(given: Case) -> list[dict[str, float]]:
    """The measures of each target in plain float64 loops."""
    removed = given.head.removed
    kept = [token for token in range(N_TOKENS) if removed is None or not removed[token]]
    ours, theirs = given.logits(given.variant), given.logits(given.dense)
    rows = []
    for state, target in zip(given.states.tolist(), given.targets.tolist(), strict=True):
        log_q, log_p = log_softmax(ours[state], kept), log_softmax(theirs[state], kept)
        whole = log_softmax(theirs[state], list(range(N_TOKENS)))
        terms = (math.exp(log_p[v]) * (log_p[v] - log_q[v]) - math.exp(log_p[v]) + math.exp(log_q[v]) for v in kept)
        tops = [min(kept, key=lambda v, of=of: (-of[v], v)) for of in (log_p, log_q)]
        rows.append(
            {
                "divergence": math.fsum(terms),
                "n_top_agreed": float(tops[0] == tops[1]),
                "log_prob_change": abs(log_q[target] - log_p[target]),
                "removed_mass": math.fsum(math.exp(whole[v]) for v in whole if v not in log_p),
                "log_prob": log_q[target],
            }
        )
    return rows


REMOVED = torch.arange(N_TOKENS) % 4 == 3
CASES = {
    "plain": case(),
    "close": case(far=1e-3),
    "sharp": case(size=20.0, far=2.0),
    "capped": case(scale=1.5, softcap=3.0),
    "with a bias": case(bias=drawn(N_TOKENS, seed=6)),
    "fewer tokens": replace(case(removed=REMOVED), targets=torch.tensor([1, 5, 60, 0, 8, 9, 30])),
    "float64": case(dtype=torch.float64),
}
HALVES = {
    f"{dtype}, {name}": replace(
        case(dtype=dtype, removed=given.head.removed, scale=given.head.scale, softcap=given.head.softcap),
        targets=given.targets,
    )
    for dtype in (torch.bfloat16, torch.float16)
    for name, given in CASES.items()
    if name in ("plain", "capped", "fewer tokens")
}
"""States and heads in half precision, whose products are rounded to it."""


@pytest.mark.parametrize("name", CASES)
def test_measures_are_those_of_plain_float64_loops(name: str) -> None:
    given = CASES[name]
    result, expected = given.measured(), looped(given)
    for measure in MEASURES:
        values = [row[measure] for row in expected]
        # the logits of the loops are products of another order, which float32 rounds
        near = 1e-9 if name == "float64" else 2e-4
        assert result.measures[measure].tolist() == pytest.approx(values, rel=near, abs=1e-5 * near)
    assert result.log_probs.tolist() == pytest.approx([row["log_prob"] for row in expected], abs=1e-4)


@pytest.mark.parametrize("name", [*CASES, *HALVES])
def test_given_the_same_logits_a_divergence_is_the_looped_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = (CASES | HALVES)[name]
    logits: list[Tensor] = []
    fill = module._fill

    def noted(room: Tensor, rows: Tensor, head: OutputHead) -> Tensor:
        logits.append(fill(room, rows, head).clone())
        return room

    monkeypatch.setattr(module, "_fill", noted)
    measured = given.measured()
    ours, theirs = (torch.cat(logits[side::2]).double().tolist() for side in (0, 1))
    monkeypatch.setattr(Case, "logits", lambda _, hidden: ours if hidden is given.variant else theirs)
    for measure in MEASURES:
        values = [row[measure] for row in looped(given)]
        assert measured.measures[measure].tolist() == pytest.approx(values, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("removed", [None, REMOVED])
def test_equal_states_have_exactly_no_distance(removed: Tensor | None, dtype: torch.dtype) -> None:
    given = case(removed=removed, dtype=dtype)
    given = replace(given, variant=given.dense.clone(), targets=torch.tensor([1, 5, 60, 0, 8, 9, 30]))
    measures = given.measured().measures
    assert measures["divergence"].tolist() == measures["log_prob_change"].tolist() == [0.0] * 7
    assert measures["n_top_agreed"].tolist() == [1.0] * 7
    assert bool((measures["removed_mass"] > 0).all()) == (removed is not None)


def test_kept_distributions_change_no_bit_and_keep_the_limit_of_memory() -> None:
    given, other = case(), case(far=0.7)
    expected = other.measured()
    for limit, n_kept in ((0, 0), (4 * N_STATES * N_TOKENS, 1), (10**6, 1)):
        shared = module.SharedSides(limit)
        for one in (given, given, other):
            with torch.inference_mode():
                found = distances(
                    one.variant,
                    one.dense,
                    (one.head,) * 2,
                    states=one.states,
                    targets=one.targets,
                    shared=(shared, "key"),
                )
        assert (shared.get(("key", 0)) is not None) == bool(n_kept)
        assert torch.equal(found.log_probs, expected.log_probs)
        for name in MEASURES:
            assert torch.equal(found.measures[name], expected.measures[name])


def test_states_that_are_equal_in_some_rows_have_no_distance_there() -> None:
    given = case()
    mixed = given.variant.clone()
    mixed[7] = given.dense[7]
    is_zero = [value == 0 for value in replace(given, variant=mixed).measured().measures["divergence"].tolist()]
    assert is_zero == [state == 7 for state in given.states.tolist()]


def test_no_divergence_is_negative() -> None:
    for far in (1e-7, 1e-6, 1e-5):
        assert float(case(far=far).measured().measures["divergence"].min()) >= 0


def test_the_exponential_is_that_of_the_library() -> None:
    values = [-700.0, -699.3, -100.7, -1.0, -0.5 * math.log(2), -1e-9, -0.0, 0.0, 1e-300, 0.3, 1.5]
    assert [exponential(value) for value in values] == pytest.approx([math.exp(value) for value in values], rel=1e-15)


def test_an_accelerator_sums_the_same_terms(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("plain", "sharp", "fewer tokens", "float64"):
        expected = CASES[name].measured().measures["divergence"].tolist()
        with monkeypatch.context() as patch:
            patch.setattr(module, "write_divergences", None)
            with pretended_gpus(1):
                given = CASES[name]
                device = torch.device("cuda:0")
                head = given.head
                on_device = replace(
                    head,
                    weight=head.weight.to(device),
                    removed=None if head.removed is None else head.removed.to(device),
                )
                moved = replace(given, head=on_device, variant=given.variant.to(device), dense=given.dense.to(device))
                found = moved.measured().measures["divergence"].tolist()
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-9)


def test_ties_of_the_most_probable_token_go_to_the_smaller_id() -> None:
    weight = torch.zeros(4, 2)
    weight[1, 0] = weight[3, 0] = weight[2, 1] = 1.0
    states = torch.tensor([[2.0, 0.0]]), torch.tensor([[2.0, 1.0]])
    given = Case(OutputHead(weight), *states, torch.tensor([0, 0]), torch.tensor([1, 3]))
    result = given.measured()
    assert result.measures["n_top_agreed"].tolist() == [1.0, 1.0]
    assert result.is_greedy.tolist() == [True, False]


@pytest.mark.parametrize("most", [1, N_TOKENS, 3 * N_TOKENS])
def test_pieces_of_positions_and_of_the_vocabulary_do_not_change_the_result(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = CASES["fewer tokens"].measured()
    monkeypatch.setattr(module, "KEPT_LOGITS", most)
    monkeypatch.setattr(module, "BLOCK_LOGITS", 7)
    given = CASES["fewer tokens"]
    result = replace(given, head=replace(given.head, max_logits=20)).measured()
    for measure in MEASURES:
        assert result.measures[measure].tolist() == pytest.approx(expected.measures[measure].tolist(), rel=1e-4)


def test_log_probabilities_are_those_of_an_evaluation_without_distance() -> None:
    given = CASES["capped"]
    plain = target_scores(given.variant, given.head, states=given.states, targets=given.targets)
    measured = given.measured()
    assert measured.log_probs.tolist() == pytest.approx(plain.log_probs.tolist(), abs=1e-6)
    assert measured.is_greedy.tolist() == plain.is_greedy.tolist()


def test_a_logit_that_is_not_a_number_shows() -> None:
    given = case()
    broken = given.variant.clone()
    broken[3, 0] = math.nan
    assert math.isnan(replace(given, variant=broken).measured().measures["divergence"][2])


def test_states_of_another_shape_or_dtype_are_refused() -> None:
    given = case()
    for dense in (given.dense[1:], given.dense.double()):
        with refused(ShapeError):
            replace(given, dense=dense).measured()
