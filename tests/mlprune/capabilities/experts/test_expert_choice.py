"""Scores of experts against their formula, and the choice of removed experts with ties, groups and unused ones."""

import itertools
from typing import Any, cast

import pytest
import torch

from mlprune.capabilities.experts.expert_choice import (
    ExpertGroups,
    ExpertSums,
    expert_scores,
    joined_scores,
    random_ranks,
    removed_experts,
)
from mlprune.capabilities.experts.routing_sums import owners_of, routing_sums
from mlprune.errors import ShapeError, StatisticsError
from mlprune.methods import SCORES, ExpertUseParameters
from tests.refusals import refused

TOKENS = {0: [(0.5, 2.0), (0.25, 4.0)], 1: [], 2: [(1.0, 3.0)]}
"""Expert -> gate weight and norm of each of its tokens, of 5 tokens."""
NAMED = {name: cast("ExpertUseParameters", score.short_for[1]) for name, score in SCORES.items() if score.short_for}
"""Named scores and their settings."""


def sums_of(tokens: dict[int, list[tuple[float, float]]], n_tokens: float = 5) -> ExpertSums:
    powers = list(itertools.product((0, 1), (0, 1, 2)))
    rows = [[sum(g**a * f**b for g, f in own) for a, b in powers] for own in tokens.values()]
    return ExpertSums(torch.tensor(rows, dtype=torch.float64), n_tokens)


@pytest.mark.parametrize(("per", "gate", "norm"), itertools.product(("token", "routed"), (False, True), (0, 1, 2)))
def test_every_setting_is_its_formula(per: str, gate: bool, norm: int) -> None:
    use = ExpertUseParameters(cast("Any", per), gate=gate, norm=norm)
    expected = [
        sum(g**gate * f**norm for g, f in own) / (5 if per == "token" else max(len(own), 1)) for own in TOKENS.values()
    ]
    assert expert_scores(sums_of(TOKENS), use).tolist() == pytest.approx(expected, rel=1e-15)


def test_named_scores_are_six_different_settings() -> None:
    scores = {name: tuple(expert_scores(sums_of(TOKENS), use).tolist()) for name, use in NAMED.items()}
    assert len(set(scores.values())) == len(NAMED) == 6
    frequency, reap = scores["frequency"], scores["reap"]
    assert scores["contribution"] == pytest.approx([f * r for f, r in zip(frequency, reap, strict=True)])


def test_a_contrast_ranks_experts_highest_that_the_contrast_set_never_uses() -> None:
    use = NAMED["frequency"]
    of_set, against = (
        sums_of({0: [(1, 1)] * 3, 1: [(1, 1)], 2: [(1, 1)]}),
        sums_of({0: [(1, 1)], 1: [(1, 1)] * 2, 2: []}),
    )
    scores = joined_scores([of_set], use, contrast=against).tolist()
    assert scores[:2] == pytest.approx([0.6**2 / 0.2, 0.2**2 / 0.4])
    assert scores[2] > 1e100


def test_impossible_sums_are_refused() -> None:
    use = ExpertUseParameters()
    with pytest.raises(ShapeError):
        expert_scores(ExpertSums(torch.zeros(3, 5, dtype=torch.float64), 1), use)
    for sums in (ExpertSums(-torch.ones(3, 6), 1), ExpertSums(torch.full((3, 6), torch.nan), 1), sums_of(TOKENS, 0)):
        with pytest.raises(StatisticsError):
            expert_scores(sums, use)
    with pytest.raises(StatisticsError):
        joined_scores([sums_of(TOKENS)] * 2, use)
    with pytest.raises(ShapeError):
        joined_scores([sums_of(TOKENS), sums_of({0: [], 1: [(1, 1)]})], use, how="pooled")


def chosen(scores: list[list[float]], sparsity: float, *, together: bool = False, **options: Any) -> list[list[int]]:
    unused = options.get("unused", [[False] * len(row) for row in scores])
    groups = options.get("groups", ExpertGroups(1, 1))
    removed = removed_experts(
        {block: torch.tensor(row, dtype=torch.float64) for block, row in enumerate(scores)},
        {block: torch.tensor(row) for block, row in enumerate(unused)},
        sparsity,
        groups=dict.fromkeys(range(len(scores)), groups),
        together=together,
    )
    return [of_block.nonzero().flatten().tolist() for of_block in removed.values()]


def test_unused_experts_go_first_then_the_lowest_and_of_equal_ones_the_lower() -> None:
    assert chosen([[3, 1, 2, 4]], 0.5) == [[1, 2]]
    assert chosen([[1, 1, 1, 1]], 0.5) == [[0, 1]]
    assert chosen([[3, 1, 2, 4]], 0.5, unused=[[False, False, False, True]]) == [[1, 3]]
    assert chosen([[3, 1, 2, 4]], 0.74) == [[1, 2]]


def test_one_threshold_compares_all_blocks_and_equal_shares_do_not() -> None:
    scores = [[1.0, 2, 3, 4], [5.0, 6, 7, 8]]
    assert chosen(scores, 0.5) == [[0, 1], [0, 1]]
    assert chosen(scores, 0.5, together=True) == [[0, 1, 2], [0]]


def test_every_group_keeps_as_many_experts_as_a_token_needs() -> None:
    groups = ExpertGroups(2, 2)
    assert chosen([[1, 2, 3, 4, 5, 6, 7, 8]], 0.5, groups=groups) == [[0, 1, 4, 5]]
    with refused(StatisticsError, missing=1):
        chosen([[1, 2, 3, 4, 5, 6, 7, 8]], 0.625, groups=groups)
    with pytest.raises(StatisticsError):
        chosen([[1, torch.nan]], 0.5)


def test_random_ranks_depend_on_seed_block_and_expert_only() -> None:
    first, again = (random_ranks({0: 4, 3: 2}, seed=1) for _ in range(2))
    assert all(torch.equal(first[block], again[block]) for block in first)
    assert sorted(torch.cat([*first.values()]).tolist()) == list(range(6))
    assert any(not torch.equal(first[block], random_ranks({0: 4, 3: 2}, seed=2)[block]) for block in first)


def test_routes_of_padding_count_for_no_demonstration() -> None:
    roles, counted = torch.tensor([[0, 1, 2], [1, 1, 0]]), torch.tensor([[True, True, True], [True, False, False]])
    routes = torch.tensor([[0.0, 3, 4], [0.5, 1.0, 1.0], [2.0, 3.0, torch.nan]], dtype=torch.float64)
    sums = routing_sums(routes, [1, 0, 2], owners_of(roles, counted), n_rows=2)
    assert sums[0, 0, 0].tolist() == [1, 2, 4, 0.5, 1, 2]
    assert sums[2, 1, 1].tolist() == [1, 3, 9, 1, 3, 9]
    assert sums.sum() == 10.5 + 26
    with refused(StatisticsError, expert=2):
        routing_sums(routes, [1, 0, 2], owners_of(roles, torch.ones(2, 3, dtype=torch.bool)), n_rows=2)
    with pytest.raises(ShapeError):
        owners_of(roles, counted[:1])
