"""Sums over the tokens of texts, compared with loops, and their order after batching."""

import numpy as np
import pytest

from mlprune.evaluation.scoring.batches import plan_texts
from mlprune.evaluation.scoring.text_scores import TextScores, score_texts
from mlprune.models.local_chain import local_chain
from tests.scored_texts import some_texts
from tests.tiny_models import save_tiny_model

LENGTHS = (3, 1, 4, 2)
VALUES = -(np.arange(1.0, 11.0) ** 2)
LIKELIEST = np.array([1, 1, 1, 0, 1, 0, 1, 1, 1, 1], dtype=bool)


def scores() -> TextScores:
    return TextScores((5, 7, 8, 9), np.array([0, 3, 4, 8]), VALUES, LIKELIEST)


def test_each_text_has_the_sum_of_its_tokens() -> None:
    assert scores().log_likelihoods.tolist() == [-14.0, -16.0, -174.0, -181.0]
    assert scores().n_tokens.tolist() == list(LENGTHS)
    assert scores().is_greedy.tolist() == [True, False, False, True]


@pytest.mark.parametrize("firsts", [(0, 0, 0, 0), (2, 0, 3, 1), (1, 0, 2, 0)])
def test_a_sum_may_leave_out_the_first_tokens(firsts: tuple[int, ...]) -> None:
    parts = np.split(VALUES, [3, 4, 8])
    expected = [log_probs[first:].sum() for log_probs, first in zip(parts, firsts, strict=True)]
    assert scores().log_likelihoods_from(np.array(firsts)).tolist() == expected


def test_every_text_is_returned_once_with_all_its_tokens(tmp_path) -> None:
    texts = some_texts()
    batches = plan_texts(texts, batch_tokens=60)
    assert len(batches) > 2
    results = list(score_texts(local_chain(save_tiny_model(tmp_path)), batches))
    assert [scores.texts for scores in results] == [planned.texts for planned in batches]
    for scores in results:
        expected = [len(texts[text].tokens) - texts[text].n_context for text in scores.texts]
        assert scores.n_tokens.tolist() == expected
        assert (scores.log_probs < 0).all()
