"""Texts scored behind shared beginnings, against transformers scoring each text alone."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mlprune.errors import ShapeError
from mlprune.evaluation.branching import ScoredText, plan_texts
from mlprune.models.branches import BranchBatch, Continuations
from mlprune.models.chain import LocalChain, local_chain
from mlprune.threads import use_threads
from tests.tiny_models import ALL_FAMILY_NAMES, FAMILY_NAMES, save_tiny_model
from tests.tiny_recipes import reference_model

TOLERANCE = 1e-5


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """As every worker computes."""
    use_threads(1)


def some_texts() -> list[ScoredText]:
    """Three heads, questions behind them, answers behind those; scored from various places on."""
    draw = random.Random(0)

    def tokens(n: int) -> tuple[int, ...]:
        return tuple(draw.randrange(3, 260) for _ in range(n))

    texts = [ScoredText((5, 9), 1)]
    for head in (tokens(20), tokens(7), tokens(1)):
        for n_question in (1, 4, 6):
            question = head + tokens(n_question)
            answers = [question + tokens(n_answer) for n_answer in (1, 2, 5)]
            texts += [ScoredText(one, draw.choice([1, len(question), len(one) - 1])) for one in answers]
    return [*texts, texts[0], texts[4]]


def alone(model: Any, text: ScoredText) -> tuple[float, bool]:
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([text.tokens])).logits[0].double()
    places = range(text.n_context, len(text.tokens))
    scores = logits.log_softmax(dim=-1)
    total = sum(scores[place - 1, text.tokens[place]].item() for place in places)
    return total, all(int(logits[place - 1].argmax()) == text.tokens[place] for place in places)


def with_greedy(model: Any, texts: list[ScoredText]) -> list[ScoredText]:
    """The texts, and some of them with the likeliest token in the place of the last."""
    changed = []
    for text in texts[::4]:
        with torch.no_grad():
            last = int(model(input_ids=torch.tensor([text.inputs])).logits[0, -1].argmax())
        changed.append(ScoredText((*text.inputs, last), len(text.inputs)))
    return [*texts, *changed]


def scored(chain: LocalChain, texts: list[ScoredText], *, batch_tokens: int) -> list[tuple[float, bool]]:
    found: dict[int, tuple[float, bool]] = {}
    batches = plan_texts(texts, batch_tokens=batch_tokens)
    for planned, scores in zip(batches, chain.stream("score_texts", (one.batch for one in batches)), strict=True):
        values = zip(scores.log_likelihoods.tolist(), scores.is_greedy.tolist(), strict=True)
        found |= dict(zip(planned.texts, values, strict=True))
    return [found[place] for place in range(len(texts))]


@pytest.mark.parametrize("family", ALL_FAMILY_NAMES)
def test_a_text_behind_a_shared_beginning_scores_as_it_does_alone(family: str, tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / "model", family)
    model, chain = reference_model(folder), local_chain(folder)
    texts = with_greedy(model, some_texts())
    expected = [alone(model, text) for text in texts]
    assert {is_greedy for _, is_greedy in expected} == {True, False}
    for batch_tokens in (40, 10_000):
        found = scored(chain, texts, batch_tokens=batch_tokens)
        assert [value for value, _ in found] == pytest.approx([value for value, _ in expected], abs=TOLERANCE)
        assert [is_greedy for _, is_greedy in found] == [is_greedy for _, is_greedy in expected]


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_shards_give_what_one_shard_gives_bit_for_bit(family: str, tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / "model", family)
    one, three = (scored(local_chain(folder, n_shards=n), some_texts(), batch_tokens=100) for n in (1, 3))
    assert one == three


def batch(**changes: Any) -> BranchBatch:
    group = Continuations(torch.tensor([[4, 5]]), torch.ones(1, 2, dtype=torch.bool), torch.tensor([0]))
    parts: dict[str, Any] = {
        "prefix_ids": torch.tensor([[1, 2]]),
        "prefix_mask": torch.ones(1, 2, dtype=torch.bool),
        "groups": (group,),
        "states": torch.tensor([1, 2, 3]),
        "targets": torch.tensor([4, 5, 6]),
        "starts": np.array([0, 2]),
    }
    return BranchBatch(**{**parts, **changes})


def test_padding_counts_as_computed() -> None:
    assert batch().n_computed == 4


@pytest.mark.parametrize(
    "changes",
    [
        {"prefix_ids": torch.empty(0, 2, dtype=torch.int64)},
        {"prefix_mask": torch.ones(1, 3, dtype=torch.bool)},
        {"targets": torch.tensor([4])},
        {"starts": np.array([0, 3])},
        {"starts": np.array([0, 2, 2])},
    ],
)
def test_a_batch_that_does_not_fit_together_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ShapeError):
        batch(**changes)


@pytest.mark.parametrize(
    ("token_ids", "mask", "parent"), [((1, 0), (1, 0), (1,)), ((1, 2), (1, 3), (1,)), ((1, 2), (1, 2), (2,))]
)
def test_continuations_that_do_not_fit_together_are_refused(
    token_ids: tuple[int, int], mask: tuple[int, int], parent: tuple[int]
) -> None:
    with pytest.raises(ShapeError):
        Continuations(
            torch.zeros(token_ids, dtype=torch.int64), torch.ones(mask).bool(), torch.zeros(parent, dtype=torch.int64)
        )
