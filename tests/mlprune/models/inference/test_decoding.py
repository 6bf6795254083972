"""Decoding with drawn tokens, compared with one text at a time."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from mlprune.errors import BadInputError
from mlprune.models.inference.decoding import MIN_PREFIX, Sampling, StoppingCriteria, decode
from mlprune.models.local_chain import LocalChain, load_shard, local_chain
from mlprune.models.messages import DecodeStep
from mlprune.numeric.log_probs import uniform_number
from tests.pretended_gpus import pretended_gpus
from tests.refusals import refused
from tests.tiny_models import FAMILY_NAMES, PAD, save_tiny_model

PROMPTS = [[1, 50, 60], [1, 50, 60], [1, 9], [7]]
N_NEW = 4


@pytest.fixture(scope="module", params=["xglm", "gemma2"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp(request.param), request.param, seed=4)


def drawn_alone(path: Path, sampling: Sampling) -> list[list[int]]:
    """Tokens drawn from the logits of transformers, one text at a time and without a cache."""
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    texts = []
    for text, prompt in enumerate(PROMPTS):
        ids = list(prompt)
        for position in range(N_NEW):
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([ids])).logits[0, -1].double() / sampling.temperature
            logits[list(sampling.banned)] = -torch.inf
            reached = torch.cumsum(logits.softmax(dim=0), dim=0)
            ids.append(int((reached <= uniform_number(sampling.seed, text, position)).sum()))
        texts.append(ids[len(prompt) :])
    return texts


def test_draws_depend_on_seed_text_and_position_and_not_on_batches(folder: Path) -> None:
    sampling = Sampling(3, 1.5, (0, 1, 2))
    expected = drawn_alone(folder, sampling)
    assert expected[0] != expected[1]  # the same prompt, another text
    assert not {0, 1, 2} & {token for text in expected for token in text}
    chain = local_chain(folder, n_shards=2)
    for batches in (None, [[3, 1], [2, 0]]):
        drawn = decode(chain, PROMPTS, StoppingCriteria(N_NEW, -1), pad_id=PAD, batches=batches, sampling=sampling)
        assert drawn == expected


DECODING_PROMPTS = [[1, 50, 60, 70, 80], [1, 9], [7], [1, 100, 101, 102, 103, 104, 105]]
PREFIX = [1, *range(30, 30 + MIN_PREFIX)]
PREFIXED_PROMPTS = [[*PREFIX, *prompt[1:], 8] for prompt in DECODING_PROMPTS]
DECODING_N_NEW = 8


def generated_alone(path, prompts=DECODING_PROMPTS):
    """Tokens that transformers generates greedily for each prompt alone, without a stop token."""
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    model.generation_config.eos_token_id = None
    generated = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        output = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=DECODING_N_NEW, do_sample=False
        )
        generated.append(output[0, len(prompt) :].tolist())
    return generated


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_greedy_decoding_equals_generation_of_each_prompt_alone(folders, name):
    expected = generated_alone(folders[name])
    assert len({tuple(tokens) for tokens in expected}) == len(DECODING_PROMPTS)
    for n_shards in (1, 3):
        chain = local_chain(folders[name], n_shards=n_shards)
        assert decode(chain, DECODING_PROMPTS, StoppingCriteria(DECODING_N_NEW, -1), pad_id=PAD) == expected


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_a_row_ends_before_its_stop_token_while_others_continue(folders, name):
    alone = generated_alone(folders[name])
    stop_id = alone[0][3]
    expected = [tokens[: tokens.index(stop_id)] if stop_id in tokens else tokens for tokens in alone]
    assert len(expected[0]) < max(map(len, expected))
    chain = local_chain(folders[name], n_shards=2)
    assert decode(chain, DECODING_PROMPTS, StoppingCriteria(DECODING_N_NEW, stop_id), pad_id=PAD) == expected


class CountingChain(LocalChain):
    n_steps = 0

    def stream(self, operation, items):
        self.n_steps += 1
        return super().stream(operation, items)


def test_decoding_stops_once_all_rows_have_stopped_and_drops_its_caches(folders):
    shards = [load_shard(folders["xglm"], span, n_blocks=3, dtype="float32") for span in (range(2), range(2, 3))]
    chain = CountingChain(shards)
    first = decode(chain, DECODING_PROMPTS[:1], StoppingCriteria(DECODING_N_NEW, -1), pad_id=PAD)[0]
    assert chain.n_steps == DECODING_N_NEW
    chain.n_steps = 0
    stopped = decode(chain, DECODING_PROMPTS[:1], StoppingCriteria(DECODING_N_NEW, first[2]), pad_id=PAD)[0]
    assert stopped == first[: first.index(first[2])]
    assert chain.n_steps == len(stopped) + 1
    assert not any(shard.runner.caches.open_sessions for shard in shards)


def test_zero_prompts_give_no_outputs_and_an_empty_prompt_is_an_error(folders):
    chain = local_chain(folders["xglm"])
    assert decode(chain, [], StoppingCriteria(3, 1), pad_id=PAD) == []
    with refused(BadInputError, row=1):
        decode(chain, [[5], []], StoppingCriteria(3, 1), pad_id=PAD)


class WatchedChain(LocalChain):
    """Counts the tokens that enter the model, and the most batches per step."""

    n_tokens, n_together = 0, 0

    def stream(self, operation, items):
        items = list(items)
        self.n_tokens += sum(item.token_ids.numel() for item in items)
        self.n_together = max(self.n_together, len(items))
        return super().stream(operation, items)


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("batches", [None, [[3], [0, 1, 2]], [[2, 1], [3, 0]]])
def test_a_shared_prefix_runs_once_and_outputs_are_those_of_each_prompt_alone(folders, batches, threads):
    expected = generated_alone(folders["xglm"], PREFIXED_PROMPTS)
    for n_threads, n_shards in ((1, 1), (2, 2)):
        threads(n_threads)
        chain = WatchedChain(local_chain(folders["xglm"], n_shards=n_shards).shards)
        options = {"stopping": StoppingCriteria(DECODING_N_NEW, -1), "pad_id": PAD, "batches": batches}
        assert decode(chain, PREFIXED_PROMPTS, **options) == expected
        longest = [max(len(PREFIXED_PROMPTS[index]) for index in batch) for batch in batches or [range(4)]]
        sizes = list(map(len, batches or [range(4)]))
        first = sum(n * (length - len(PREFIX)) for n, length in zip(sizes, longest, strict=True))
        assert chain.n_tokens == len(PREFIX) + first + 4 * (DECODING_N_NEW - 1)
        assert chain.n_together == min(n_threads, len(sizes))
        assert not any(shard.runner.caches.open_sessions for shard in chain.shards)


def test_equal_prompts_keep_one_token_after_their_prefix(folders):
    chain = local_chain(folders["xglm"])
    first, second, third = decode(chain, [PREFIXED_PROMPTS[0]] * 3, StoppingCriteria(3, -1), pad_id=PAD)
    assert first == second == third == generated_alone(folders["xglm"], [PREFIXED_PROMPTS[0]])[0][:3]


def test_a_failed_step_drops_all_caches(folders, monkeypatch):
    chain = local_chain(folders["xglm"])
    stream = chain.stream

    def failing(operation, items):
        items = list(items)
        if any(isinstance(item, DecodeStep) and item.token_ids.shape[1] == 1 for item in items):
            raise RuntimeError("gone")
        return stream(operation, items)

    monkeypatch.setattr(chain, "stream", failing)
    with pytest.raises(RuntimeError, match="gone"):
        decode(chain, PREFIXED_PROMPTS, StoppingCriteria(3, -1), pad_id=PAD)
    assert not chain.shards[0].runner.caches.open_sessions


def test_an_accelerator_decodes_16_prompts_with_one_wait_a_step_to_the_tokens_of_the_cpu(folders):
    prompts = [[*PREFIX, *range(40, 43 + row), 8] for row in range(16)]
    expected = decode(local_chain(folders["xglm"]), prompts, StoppingCriteria(6, -1), pad_id=PAD)
    counts = []
    with pretended_gpus() as ledger:
        chain = local_chain(folders["xglm"])
        for n_new in (2, 6):
            ledger.clear()
            decoded = decode(chain, prompts, StoppingCriteria(n_new, -1), pad_id=PAD)
            assert ledger.blocking_uploads == 0, ledger.blocking
            counts.append((ledger.operations, ledger.waits))
    assert decoded == expected
    operations, waits = ((after - before) / 4 for before, after in zip(*counts, strict=True))
    assert waits == 1
    assert operations * 24 / 3 <= 16 * 150  # an upper bound for 24 blocks, in which embedding and head count 8 times
