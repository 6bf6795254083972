"""Requests of lm-evaluation-harness answered by a chain, compared with the harness's class for Hugging Face models."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed: pip install -e '.[harness]'")

from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from mlprune.capabilities.harness.adapter import DEFAULT_POSITIONS, ChainModel
from mlprune.errors import BadInputError, TaskFileError
from mlprune.models.loading import load_tokenizer
from mlprune.models.local_chain import local_chain
from mlprune.processes.parallel import set_worker_threads
from tests.refusals import refused
from tests.tiny_models import END, POSITIONS, save_tiny_model

CONTEXTS = ("", "a question", "a question ", "another, longer question?", "x" * 80)
CONTINUATIONS = (" yes", " no", "perhaps", "</s> end", "y" * (POSITIONS - 1))
TEXTS = ("", "short", "".join(f"line {n}, " for n in range(20)), "".join(f"word {n * n} " for n in range(30)))


class Pair(NamedTuple):
    """The same model in the adapter and in the class of the harness."""

    chain_model: ChainModel
    reference: Any


@pytest.fixture(scope="module", params=["xglm", "bloom"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    set_worker_threads(1)
    folder = save_tiny_model(tmp_path_factory.mktemp("model") / request.param, request.param, seed=1)
    # without its cache of logits: with it, a window's score depends on which other windows are asked about
    reference = HFLM(str(folder), device="cpu", dtype="float32", batch_size=3, max_length=POSITIONS, logits_cache=False)
    return Pair(model_of(folder), reference)


def model_of(folder: Path, *, max_positions: int | None = POSITIONS, batch_tokens: int = 300) -> ChainModel:
    limits = {"max_positions": max_positions, "batch_tokens": batch_tokens}
    return ChainModel(local_chain(folder), load_tokenizer(folder), **limits)


def requests(kind: str, *arguments: tuple[Any, ...]) -> list[Instance]:
    return [Instance(kind, {}, argument, index, ("task", index, 1)) for index, argument in enumerate(arguments)]


def assert_same(answers: list[Any], expected: list[Any], *, tolerance: float = 1e-4) -> None:
    assert [value for value, _ in answers] == pytest.approx([value for value, _ in expected], abs=tolerance)
    assert [is_greedy for _, is_greedy in answers] == [is_greedy for _, is_greedy in expected]


def test_continuations_have_the_log_likelihoods_of_the_harness_and_its_greedy_flags(pair: Pair) -> None:
    asked = requests(
        "loglikelihood", *((context, continuation) for context in CONTEXTS for continuation in CONTINUATIONS)
    )
    answers, expected = pair.chain_model.loglikelihood(asked), pair.reference.loglikelihood(asked, disable_tqdm=True)
    assert_same(answers, expected)


def test_whole_texts_of_any_length_have_the_log_likelihoods_of_the_harness(pair: Pair) -> None:
    asked = requests("loglikelihood_rolling", *((text,) for text in TEXTS[1:]))
    answers, expected = pair.chain_model.loglikelihood_rolling(asked), pair.reference.loglikelihood_rolling(asked)
    assert answers == pytest.approx(expected, abs=1e-4)
    assert pair.chain_model.loglikelihood_rolling(requests("loglikelihood_rolling", ("",))) == [0]


@pytest.mark.thorough("scores many texts or draws")
@pytest.mark.parametrize("until", [[], ["\n"], ["e", "3"]])
def test_generated_texts_are_those_of_the_harness(pair: Pair, until: list[str]) -> None:
    options = {"until": until, "max_gen_toks": 8, "do_sample": False}
    asked = requests("generate_until", *((context, options) for context in CONTEXTS[1:]))
    assert pair.chain_model.generate_until(asked) == pair.reference.generate_until(asked, disable_tqdm=True)


def test_a_generated_text_ends_before_its_first_stop_sequence(pair: Pair) -> None:
    whole = pair.chain_model.generate_until(requests("generate_until", ("a question", {"max_gen_toks": 8})))[0]
    stop = whole[len(whole) // 2 :][:2]
    asked = requests("generate_until", ("a question", {"until": [stop], "max_gen_toks": 8}))
    assert pair.chain_model.generate_until(asked) == [whole.partition(stop)[0]]


def test_answers_do_not_depend_on_batches_or_order(pair: Pair, tmp_path: Path) -> None:
    asked = requests(
        "loglikelihood", *((context, continuation) for context in CONTEXTS for continuation in CONTINUATIONS[:3])
    )
    expected = pair.chain_model.loglikelihood(asked)
    answers = pair.chain_model.loglikelihood(asked[::-1])[::-1]
    assert_same(answers, expected, tolerance=1e-5)
    pair.chain_model._batch_tokens = 40
    answers = pair.chain_model.loglikelihood(asked)
    pair.chain_model._batch_tokens = 300
    assert_same(answers, expected, tolerance=1e-5)


def test_tokenised_requests_are_answered_and_the_likeliest_tokens_are_greedy(pair: Pair) -> None:
    context = pair.chain_model.tok_encode("a question")
    likeliest = int(pair.reference._model_call(torch.tensor([context]))[0, -1].argmax())
    asked = [(None, context, [token, *rest]) for token in (likeliest, likeliest - 1) for rest in ([], [7])]
    answers, expected = (
        pair.chain_model._loglikelihood_tokens(asked),
        pair.reference._loglikelihood_tokens(asked, disable_tqdm=True),
    )
    assert_same(answers, expected)
    assert (answers[0][1], answers[2][1]) == (True, False)


def test_a_model_without_positions_has_the_harness_default(tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / "model", "bloom", blocks=1)
    assert model_of(folder, max_positions=None).max_length == DEFAULT_POSITIONS
    assert model_of(folder).prefix_token_id == END


@pytest.mark.parametrize("continuation", ["", "z" * (POSITIONS + 1)])
def test_a_continuation_that_cannot_be_scored_is_an_error(pair: Pair, continuation: str) -> None:
    with refused(TaskFileError, expected="a context, and 1 to 64 tokens after it"):
        pair.chain_model.loglikelihood(requests("loglikelihood", ("a", continuation)))


@pytest.mark.parametrize(
    "options", [{"do_sample": True, "temperature": 0.7}, {"num_beams": 4}, {"max_gen_toks": POSITIONS}]
)
def test_decoding_that_is_not_greedy_or_has_no_room_is_refused(pair: Pair, options: dict[str, Any]) -> None:
    with pytest.raises(BadInputError):
        pair.chain_model.generate_until(requests("generate_until", ("a", options)))
