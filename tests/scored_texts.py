"""Texts to score, how a chain scores them, and what a model of transformers makes of each of them alone."""

import random
from collections.abc import Sequence
from typing import Any

import torch

from mlprune.evaluation.scoring.batches import plan_texts
from mlprune.evaluation.scoring.prefix_tree import ScoredText
from mlprune.evaluation.scoring.text_scores import score_texts
from mlprune.models.chain import Chain
from mlprune.models.messages import ScoringBatch

Score = tuple[float, bool]
"""Log-likelihood, and whether greedy decoding gives the scored part."""


def some_texts(heads: Sequence[int] = (20, 7, 1)) -> list[ScoredText]:
    """Heads of some lengths, questions behind them, answers behind those; scored from various places on."""
    draw = random.Random(0)

    def tokens(n: int) -> tuple[int, ...]:
        return tuple(draw.randrange(3, 259) for _ in range(n))

    texts = [ScoredText((5, 9), 1)]
    for head in map(tokens, heads):
        for n_question in (1, 4, 6):
            question = head + tokens(n_question)
            answers = [question + tokens(n_answer) for n_answer in (1, 2, 5)]
            texts += [ScoredText(one, draw.choice([1, len(question), len(one) - 1])) for one in answers]
    return [*texts, texts[0], texts[4]]


def one_batch(texts: Sequence[ScoredText]) -> ScoringBatch:
    """All of some texts as one batch."""
    (planned,) = plan_texts(texts, batch_tokens=10**6)
    return planned.batch


def scored(chain: Chain, texts: Sequence[ScoredText], *, batch_tokens: int = 10**6) -> list[Score]:
    """What a chain makes of texts."""
    found: dict[int, Score] = {}
    for scores in score_texts(chain, plan_texts(texts, batch_tokens=batch_tokens)):
        values = zip(scores.log_likelihoods.tolist(), scores.is_greedy.tolist(), strict=True)
        found |= dict(zip(scores.texts, values, strict=True))
    return [found[place] for place in range(len(texts))]


def scored_alone(model: Any, texts: Sequence[ScoredText]) -> list[Score]:
    """What a model of transformers makes of each text alone, summed up in float64, token by token."""
    return [_alone(model, text) for text in texts]


def _alone(model: Any, text: ScoredText) -> Score:
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([text.tokens]), use_cache=False).logits[0].double()
    log_probs = logits.log_softmax(dim=-1)
    places = range(text.n_context, len(text.tokens))
    total = sum(log_probs[place - 1, text.tokens[place]].item() for place in places)
    return total, all(int(logits[place - 1].argmax()) == text.tokens[place] for place in places)
