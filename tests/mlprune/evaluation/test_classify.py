"""Scores against a plain loop that gives each text to the model alone."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from mlprune.errors import PermanentError, ShapeError, TaskFileError
from mlprune.evaluation.classify import (
    ItemScores,
    Predictions,
    prediction_rows,
    prepare,
    run,
    score_items,
)
from mlprune.evaluation.tasks import ChoiceItem, marc_item, sentence_item, xnli_item
from mlprune.models.chain import local_chain
from tests.tiny_models import FAMILY_NAMES, save_tiny_model, tiny_tokenizer


def some_items() -> list[ChoiceItem]:
    rows = [("It rains.", "It is wet."), ("It rains.", "No"), ("Il neige", "blanc"), ("a", "b")]
    items = [
        xnli_item(str(number), {"premise": premise, "hypothesis": hypothesis, "label": number % 3})
        for number, (premise, hypothesis) in enumerate(rows)
    ]
    marc = marc_item("m", {"text": "bon livre", "label": 5})
    assert marc is not None
    fact = ChoiceItem("f", ("Oui", "Non", "x"), ("Oui, c'est ça.", "Non, c'est ça.", "x, c'est ça."), 1)
    return [*items, marc, sentence_item("p", "Un deux trois."), fact, sentence_item("q", "ab")]


def plain_scores(folder: Path, items: list[ChoiceItem]) -> list[list[float]]:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = tiny_tokenizer()
    scores: list[list[float]] = []
    for item in items:
        scores.append([])
        for text in item.texts:
            tokens = torch.tensor([tokenizer(text)["input_ids"]])
            with torch.no_grad():
                log_probs = torch.log_softmax(model(input_ids=tokens).logits[0].double(), dim=-1)
            scores[-1].append(
                sum(float(log_probs[place, tokens[0, place + 1]]) for place in range(tokens.shape[1] - 1))
            )
    return scores


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_scores_with_shared_prefixes_equal_those_of_each_text_alone(family: str, tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path, family)
    items = some_items()
    chain = local_chain(folder, n_shards=2)
    prepared = prepare(tiny_tokenizer(), items, batch_tokens=400, max_positions=64)
    assert len(prepared.batches) > 1
    scores = run(chain, prepared)
    for number, expected in enumerate(plain_scores(folder, items)):
        log_likelihoods, n_tokens = scores.of(number)
        np.testing.assert_allclose(log_likelihoods, expected, rtol=1e-5, atol=1e-5)
        assert n_tokens.tolist() == [len(text.encode()) - 1 for text in items[number].texts]


def test_batch_tokens_do_not_change_scores_nor_does_a_second_run(tmp_path: Path) -> None:
    chain = local_chain(save_tiny_model(tmp_path))
    items = some_items()
    prepared = prepare(tiny_tokenizer(), items, batch_tokens=300, max_positions=None)
    first = run(chain, prepared)
    assert np.array_equal(first.log_likelihoods, run(chain, prepared).log_likelihoods)
    for batch_tokens in (1, 100, 10_000):
        other = score_items(chain, tiny_tokenizer(), items, batch_tokens=batch_tokens, max_positions=None)
        np.testing.assert_allclose(first.log_likelihoods, other.log_likelihoods, rtol=1e-5)
        assert np.array_equal(first.n_tokens, other.n_tokens)


def test_the_tokenizers_own_special_tokens_are_scored_too() -> None:
    class Marking:
        def __call__(self, texts: list[str], **_: object) -> dict[str, list[list[int]]]:
            return {"input_ids": [[1, *text.encode()] for text in texts]}

    (planned,) = prepare(Marking(), [sentence_item("a", "x")], batch_tokens=10, max_positions=None).batches
    assert (planned.batch.prefix_ids.tolist(), planned.batch.suffix_ids.tolist()) == ([[1]], [[ord("x")]])


def test_a_text_that_does_not_fit_the_model_names_its_example() -> None:
    with pytest.raises(TaskFileError, match="'long'"):
        prepare(tiny_tokenizer(), [sentence_item("long", "x" * 65)], batch_tokens=10, max_positions=64)
    with pytest.raises(TaskFileError, match="'short'"):
        prepare(tiny_tokenizer(), [sentence_item("short", "x")], batch_tokens=10, max_positions=64)


def hand_scores() -> tuple[list[ChoiceItem], ItemScores]:
    items = [ChoiceItem("a", ("u", "v"), ("tu", "tv"), 1), ChoiceItem("b", ("u", "v", "w"), ("tu", "tv", "tw"), 0)]
    scores = ItemScores(np.array([0, 2, 5]), np.array([-2.0, -3.0, -6.0, -8.0, -4.0]), np.array([1, 3, 2, 2, 4]))
    return items, scores


def test_prediction_rows_stand_in_file_order_and_give_the_predictions_back() -> None:
    items, scores = hand_scores()
    rows = prediction_rows(items, scores)
    assert rows[1] == {
        "example_id": "a",
        "candidate_index": 1,
        "candidate": "v",
        "is_gold": True,
        "log_likelihood": -3.0,
        "n_tokens": 3,
    }
    assert [(row["example_id"], row["candidate_index"]) for row in rows] == [
        *[("a", 0), ("a", 1)],
        *[("b", 0), ("b", 1), ("b", 2)],
    ]
    stored = Predictions.from_columns({key: [row[key] for row in rows] for key in rows[0]})
    fresh = Predictions.from_scores(items, scores)
    assert stored.example_ids == fresh.example_ids == ("a", "b")
    for name in ("starts", "gold", "log_likelihoods", "n_tokens"):
        assert np.array_equal(getattr(stored, name), getattr(fresh, name))


def test_mean_scores_divide_by_the_scored_tokens() -> None:
    means = Predictions.from_scores(*hand_scores()).mean_scores()
    assert [values.tolist() for values in means] == [[-2.0, -1.0], [-3.0, -4.0, -1.0]]


def test_a_score_that_is_not_a_number_is_an_error() -> None:
    items, scores = hand_scores()
    broken = ItemScores(scores.starts, np.where(scores.n_tokens == 4, np.nan, scores.log_likelihoods), scores.n_tokens)
    with pytest.raises(PermanentError, match="not a number"):
        _ = Predictions.from_scores(items, broken).score_matrix


@pytest.mark.parametrize(
    ("indices", "gold"),
    [
        ([0, 1, 0, 2, 1], [0, 1, 1, 0, 0]),
        ([1, 0, 0, 1, 2], [0, 1, 1, 0, 0]),
        ([0, 1, 0, 1, 2], [1, 1, 0, 0, 0]),
        ([0, 1, 0, 1, 2], [0, 1, 0, 0, 0]),
    ],
)
def test_stored_rows_out_of_order_or_without_one_gold_are_an_error(indices: list[int], gold: list[int]) -> None:
    columns = {
        "example_id": ["a", "a", "b", "b", "b"],
        "candidate_index": indices,
        "is_gold": [bool(flag) for flag in gold],
        "log_likelihood": [-1.0] * 5,
        "n_tokens": [1] * 5,
    }
    with pytest.raises(ShapeError, match="out of order"):
        Predictions.from_columns(columns)
