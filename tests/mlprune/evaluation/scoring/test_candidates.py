"""Sums over the tokens of texts, compared with loops, and their order after batching."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from mlprune.errors import ModelError, TaskFileError
from mlprune.evaluation.scoring.batches import TextLimits, plan_texts
from mlprune.evaluation.scoring.candidates import (
    TextScores,
    prepare,
    run,
    run_alone,
    run_with_rules,
    score_items,
    score_texts,
)
from mlprune.evaluation.tasks.builtin.marc import marc_item
from mlprune.evaluation.tasks.builtin.xnli import xnli_item
from mlprune.evaluation.tasks.items import ChoiceItem, choice_item, sentence_item
from mlprune.models.local_chain import local_chain
from tests.refusals import refused
from tests.scored_texts import some_texts
from tests.tiny_models import ALL_FAMILY_NAMES, FAMILY_NAMES, save_tiny_model, tiny_tokenizer

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


@pytest.fixture(scope="module")
def xglm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model"))


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
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval(), tiny_tokenizer()
    return [[sum(plain_log_probs(model, tokenizer(text)["input_ids"])) for text in item.texts] for item in items]


@pytest.mark.thorough("scores many texts or draws")
@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_scores_with_shared_prefixes_equal_those_of_each_text_alone(family: str, tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path, family)
    items = some_items()
    chain = local_chain(folder, n_shards=2)
    prepared = prepare(tiny_tokenizer(), items, TextLimits(200, 64))
    assert len(prepared.batches) > 1
    scores = run(chain, prepared)
    for number, expected in enumerate(plain_scores(folder, items)):
        log_likelihoods, n_tokens = scores.of(number)
        np.testing.assert_allclose(log_likelihoods, expected, rtol=1e-5, atol=1e-5)
        assert n_tokens.tolist() == [len(text.encode()) - 1 for text in items[number].texts]


@pytest.mark.thorough("scores many texts or draws")
@pytest.mark.parametrize("family", ALL_FAMILY_NAMES)
def test_a_batch_of_only_the_start_token_is_scored_whatever_the_padding_id(family: str, tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path, family, blocks=1)
    assert (AutoConfig.from_pretrained(folder).pad_token_id > 3) == (family != "xglm")
    (item,) = items = [choice_item("one", ("a", "b"), context="x", parts=("a", "b"), gold=0)]
    chain, tokenizer = local_chain(folder), tiny_tokenizer()
    prepared = prepare(tokenizer, items, TextLimits(64, 64))
    scores = run_with_rules(chain, prepared, ["pmi"]).likelihoods
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    start = tokenizer.bos_token_id
    expected = [plain_log_probs(model, [start, *tokenizer(part)["input_ids"]])[0] for part in item.candidates]
    assert scores.alone.tolist() == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_batch_tokens_do_not_change_scores_nor_does_a_second_run(xglm: Path) -> None:
    chain = local_chain(xglm)
    items = some_items()
    prepared = prepare(tiny_tokenizer(), items, TextLimits(300, None))
    first = run(chain, prepared)
    assert np.array_equal(first.likelihoods.whole, run(chain, prepared).likelihoods.whole)
    for batch_tokens in (1, 100, 10_000):
        other = score_items(chain, tiny_tokenizer(), items, TextLimits(batch_tokens, None))
        np.testing.assert_allclose(first.likelihoods.whole, other.likelihoods.whole, rtol=1e-5)
        assert np.array_equal(first.likelihoods.n_whole, other.likelihoods.n_whole)


class Marking:
    """Tokenizer of bytes that adds a token 1 at the start."""

    is_fast = True
    bos_token_id, eos_token_id = None, 1

    def __init__(self, *, marks: bool = True) -> None:
        self.marks = [1] if marks else []

    def __call__(self, texts: str | list[str], **_: object) -> dict[str, Any]:
        if isinstance(texts, str):
            return {"input_ids": [*self.marks, *texts.encode()]}
        spans = [[*((0, 0) for _ in self.marks), *((i, i + 1) for i in range(len(text)))] for text in texts]
        return {"input_ids": [self(text)["input_ids"] for text in texts], "offset_mapping": spans}


def test_special_tokens_of_the_tokenizer_are_scored() -> None:
    (text,) = prepare(Marking(), [sentence_item("a", "x")], TextLimits(10, None)).texts
    assert (text.tokens, text.n_context) == ((1, ord("x")), 1)


def test_the_candidate_part_begins_with_the_first_token_with_one_of_its_characters() -> None:
    item = choice_item("a", ("u", "vw"), context="ab ", parts=("u", "vw"), gold=0)
    whole = replace(item, starts=())
    for marks, expected in ((True, [4, 4, 1, 1]), (False, [3, 3, 1, 1])):
        prepared = prepare(Marking(marks=marks), [item, whole], TextLimits(100, None))
        assert prepared.first_tokens.tolist() == expected


def test_a_token_across_the_boundary_belongs_to_the_candidate_part() -> None:
    class Coarse(Marking):
        def __call__(self, texts: str | list[str], **_: object) -> dict[str, Any]:
            if isinstance(texts, str):
                return super().__call__(texts)
            return {"input_ids": [[5, 6, 7]], "offset_mapping": [[(0, 2), (2, 5), (5, 6)]]}

    item = choice_item("a", ("u",), context="abc", parts=("u d",), gold=0)
    assert prepare(Coarse(), [item], TextLimits(100, None)).first_tokens.tolist() == [1]


def test_a_tokenizer_without_offsets_only_works_for_whole_texts() -> None:
    slow = Marking()
    slow.is_fast = False
    prepare(slow, [sentence_item("a", "xy")], TextLimits(10, None))
    with refused(ModelError, expected="a tokenizer.json", got="a slow tokenizer"):
        prepare(slow, [choice_item("a", ("u",), context="ab", parts=("u",), gold=0)], TextLimits(10, None))


def test_a_text_that_does_not_fit_the_model_names_its_example() -> None:
    fits = choice_item("fits", ("a", "b"), context="x", parts=("a", "b"), gold=0)
    long = choice_item("long", ("a", "b"), context="x" * 63, parts=("a", "bc"), gold=0)
    with refused(TaskFileError, expected="at most 64 tokens", got=65) as caught:
        prepare(tiny_tokenizer(), [fits, long], TextLimits(10, 64))
    assert caught.value.context == {"example": "long", "candidate": 1, "expected": "at most 64 tokens", "got": 65}
    with refused(TaskFileError, example="short", candidate=0):
        prepare(tiny_tokenizer(), [fits, sentence_item("short", "x")], TextLimits(10, 64))


def test_items_with_a_text_longer_than_the_model_can_be_left_out() -> None:
    fits = choice_item("fits", ("a", "b"), context="x", parts=("a", "b"), gold=0)
    long = choice_item("long", ("a", "b"), context="x" * 63, parts=("a", "bc"), gold=0)
    other = choice_item("other", ("a", "b"), context="y", parts=("a", "b"), gold=1)
    kept = prepare(tiny_tokenizer(), [fits, long, other], TextLimits(10, 64, "skip"))
    assert (kept.items, kept.longer_ids) == ((fits, other), ("long",))
    alone = prepare(tiny_tokenizer(), [fits, other], TextLimits(10, 64))
    assert (kept.texts, kept.first_tokens.tolist()) == (alone.texts, alone.first_tokens.tolist())
    with pytest.raises(TaskFileError):
        prepare(tiny_tokenizer(), [long], TextLimits(10, 64, "skip"))


def test_texts_longer_than_the_model_can_lose_their_start_and_still_share_their_context() -> None:
    fits = choice_item("fits", ("a", "b"), context="x", parts=("a", "b"), gold=0)
    long = choice_item("long", ("a", "b"), context=f"{'x' * 40}{'y' * 40}", parts=("a", "bcd"), gold=0)
    prepared = prepare(tiny_tokenizer(), [fits, long], TextLimits(10, 64, "truncate_left"))
    assert (prepared.items, prepared.longer_ids) == ((fits, long), ("long",))
    n_cut = 83 - 64
    whole = tuple(tuple(tiny_tokenizer()(text)["input_ids"]) for text in long.texts)
    assert [text.tokens for text in prepared.texts[2:]] == [tokens[n_cut:] for tokens in whole]
    assert prepared.first_tokens[2:].tolist() == [80 - n_cut] * 2


def test_special_tokens_stay_at_the_start_of_a_cut_text() -> None:
    (text,) = prepare(Marking(), [sentence_item("a", "abcdefgh")], TextLimits(10, 5, "truncate_left")).texts
    whole = Marking()(["abcdefgh"])["input_ids"][0]
    assert text.tokens == (whole[0], *whole[-4:])


def test_a_long_candidate_loses_its_own_start_only_if_the_context_is_too_short() -> None:
    item = choice_item("long", ("a", "b"), context="xy", parts=("a" * 10, "b"), gold=0)
    prepared = prepare(tiny_tokenizer(), [item], TextLimits(10, 8, "truncate_left"))
    assert [len(text.tokens) for text in prepared.texts] == [8, 2]
    assert prepared.first_tokens.tolist() == [1, 1]


@pytest.mark.thorough("scores many texts or draws")
@pytest.mark.parametrize("batch_tokens", [60, 2000])
def test_candidate_parts_and_parts_alone_equal_a_plain_loop(xglm: Path, batch_tokens: int) -> None:
    items = [*some_items(), choice_item("first", ("ab", "abc"), context="", parts=("ab z", "abc z"), gold=0)]
    chain, tokenizer = local_chain(xglm), tiny_tokenizer()
    prepared = prepare(tokenizer, items, TextLimits(batch_tokens, None))
    likelihoods = run(chain, prepared).with_alone(run_alone(chain, prepared)).likelihoods
    model = AutoModelForCausalLM.from_pretrained(xglm, dtype=torch.float32).eval()
    row = 0
    for item in items:
        for text, start in zip(item.texts, item.starts or (0,) * len(item.texts), strict=True):
            tokens = tokenizer(text)["input_ids"]
            first = max(1, len(text[:start].encode()))
            assert likelihoods.n_part[row] == len(tokens) - first
            log_probs = plain_log_probs(model, tokens)
            assert likelihoods.part[row] == pytest.approx(sum(log_probs[first - 1 :]), rel=1e-5, abs=1e-5)
            alone = plain_log_probs(model, [tokenizer.bos_token_id, *tokens[first:]])
            assert likelihoods.alone[row] == pytest.approx(sum(alone), rel=1e-5, abs=1e-5)
            row += 1
    assert row == likelihoods.whole.size


def plain_log_probs(model: Any, tokens: list[int]) -> list[float]:
    with torch.no_grad():
        log_probs = torch.log_softmax(model(input_ids=torch.tensor([tokens])).logits[0].double(), dim=-1)
    return [float(log_probs[position, token]) for position, token in enumerate(tokens[1:])]


def test_parts_alone_begin_with_the_first_token_of_an_empty_text(xglm: Path) -> None:
    chain, item = local_chain(xglm), choice_item("a", ("u",), context="ab ", parts=("u",), gold=0)

    def alone(tokenizer: Marking) -> list[float]:
        return run_alone(chain, prepare(tokenizer, [item], TextLimits(100, None))).tolist()

    unmarked = Marking(marks=False)
    first = alone(unmarked)
    assert first == alone(Marking())
    unmarked.bos_token_id = 2  # type: ignore[assignment]
    assert first != alone(unmarked)
    unmarked.bos_token_id, unmarked.eos_token_id = None, None  # type: ignore[assignment]
    with refused(ModelError, expected="a bos_token or eos_token", got=None):
        alone(unmarked)


def test_parts_that_occur_often_are_run_once(xglm: Path) -> None:
    items = [choice_item(str(n), ("u", "v"), context=f"{n} is ", parts=("u", "vw"), gold=0) for n in range(9)]
    prepared = prepare(tiny_tokenizer(), items, TextLimits(1000, None))
    (planned,) = prepared.batches_alone
    assert (planned.batch.prefix_ids.shape, planned.batch.groups) == ((2, 2), ())
    alone = run_alone(local_chain(xglm), prepared)
    assert len(set(alone.tolist())) == 2
    assert alone.reshape(9, 2).tolist() == [alone[:2].tolist()] * 9
