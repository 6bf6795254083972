"""Texts to score: scored by a chain, and one by one with a transformers model as the reference."""

import random
from collections.abc import Sequence
from typing import Any

import torch

from mlprune.evaluation.scoring.batches import ScoredText, plan_texts
from mlprune.evaluation.scoring.candidates import score_texts
from mlprune.models.chain import Chain
from mlprune.models.messages import ScoringBatch
from tests.tiny_models import tiny_tokenizer

Score = tuple[float, bool]
"""Log-likelihood, and whether greedy decoding produces the scored part."""


def some_texts(heads: Sequence[int] = (20, 7, 1)) -> list[ScoredText]:
    """Texts that share heads and questions: each head has three questions, each question three answers.

    The position from which a text is scored varies.
    """
    draw = random.Random(0)

    def tokens(n: int) -> tuple[int, ...]:
        return tuple(draw.randrange(3, 259) for _ in range(n))

    texts = [ScoredText((5, 9), 1)]
    for head in map(tokens, heads):
        for n_question in (1, 4, 6):
            question = head + tokens(n_question)
            answers = [question + tokens(n_answer) for n_answer in (1, 2, 5)]
            texts += [ScoredText(answer, draw.choice([1, len(question), len(answer) - 1])) for answer in answers]
    return [*texts, texts[0], texts[4]]


def one_batch(texts: Sequence[ScoredText]) -> ScoringBatch:
    """Put all texts into one batch."""
    (planned,) = plan_texts(texts, batch_tokens=10**6)
    return planned.batch


def scored(
    chain: Chain, texts: Sequence[ScoredText], *, batch_tokens: int = 10**6, whole_texts: bool = False
) -> list[Score]:
    """Score texts with a chain, in their order."""
    scores_by_text: dict[int, Score] = {}
    for scores in score_texts(chain, plan_texts(texts, batch_tokens=batch_tokens, whole_texts=whole_texts)):
        values = zip(scores.log_likelihoods.tolist(), scores.is_greedy.tolist(), strict=True)
        scores_by_text |= dict(zip(scores.texts, values, strict=True))
    return [scores_by_text[index] for index in range(len(texts))]


def scored_alone(model: Any, texts: Sequence[ScoredText]) -> list[Score]:
    """Score each text alone with a transformers model; sum in float64, token by token."""
    return [_alone(model, text) for text in texts]


def score_of_text(model: Any, text: str) -> tuple[float, int]:
    """Log-likelihood of all tokens of a text except the first, and their number."""
    ids = tiny_tokenizer()(text)["input_ids"]
    log_likelihood, _ = _alone(model, ScoredText(tuple(ids), 1))
    return log_likelihood, len(ids) - 1


def _alone(model: Any, text: ScoredText) -> Score:
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([text.tokens]), use_cache=False).logits[0].double()
    log_probs = logits.log_softmax(dim=-1)
    positions = range(text.n_context, len(text.tokens))
    total = sum(log_probs[position - 1, text.tokens[position]].item() for position in positions)
    return total, all(int(logits[position - 1].argmax()) == text.tokens[position] for position in positions)
