from threading import Barrier, current_thread

import pytest
import torch
from transformers import AutoModelForCausalLM

from mlprune.errors import BadInputError, ModelError
from mlprune.models.chain import Chain, LocalChain, greedy_decode, local_chain, shard_of
from mlprune.models.shard import Shard
from tests.tiny_models import FAMILY_NAMES, PAD, save_tiny_model

PROMPTS = [[1, 50, 60, 70, 80], [1, 9], [7], [1, 100, 101, 102, 103, 104, 105]]
N_NEW = 8


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {name: save_tiny_model(tmp_path_factory.mktemp(name), name, seed=4) for name in FAMILY_NAMES}


def generated_alone(path):
    """What transformers generates greedily for each prompt alone, never stopping."""
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    model.generation_config.eos_token_id = None
    found = []
    for prompt in PROMPTS:
        ids = torch.tensor([prompt])
        output = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=N_NEW, do_sample=False)
        found.append(output[0, len(prompt) :].tolist())
    return found


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_greedy_decoding_equals_generation_of_each_prompt_alone(folders, name):
    expected = generated_alone(folders[name])
    assert len({tuple(tokens) for tokens in expected}) == len(PROMPTS)
    for n_shards in (1, 2, 3):
        chain = local_chain(folders[name], n_shards=n_shards)
        assert greedy_decode(chain, PROMPTS, max_new_tokens=N_NEW, stop_id=-1, pad_id=PAD) == expected


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_a_row_ends_before_its_stop_token_and_the_others_go_on(folders, name):
    alone = generated_alone(folders[name])
    stop_id = alone[0][3]
    expected = [tokens[: tokens.index(stop_id)] if stop_id in tokens else tokens for tokens in alone]
    assert len(expected[0]) < max(map(len, expected))
    chain = local_chain(folders[name], n_shards=2)
    assert greedy_decode(chain, PROMPTS, max_new_tokens=N_NEW, stop_id=stop_id, pad_id=PAD) == expected


class CountingChain(LocalChain):
    n_steps = 0

    def stream(self, operation, items):
        self.n_steps += 1
        return super().stream(operation, items)


def test_decoding_stops_when_all_rows_have_stopped_and_leaves_no_cache(folders):
    shards = [Shard(folders["xglm"], span, n_blocks=3, dtype="float32") for span in (range(2), range(2, 3))]
    chain = CountingChain(shards)
    first = greedy_decode(chain, PROMPTS[:1], max_new_tokens=N_NEW, stop_id=-1, pad_id=PAD)[0]
    assert chain.n_steps == N_NEW
    chain.n_steps = 0
    stopped = greedy_decode(chain, PROMPTS[:1], max_new_tokens=N_NEW, stop_id=first[2], pad_id=PAD)[0]
    assert stopped == first[: first.index(first[2])]
    assert chain.n_steps == len(stopped) + 1
    assert not any(shard._caches for shard in shards)


def test_no_prompts_give_nothing_and_an_empty_prompt_is_an_error(folders):
    chain = local_chain(folders["xglm"])
    assert greedy_decode(chain, [], max_new_tokens=3, stop_id=1, pad_id=PAD) == []
    with pytest.raises(BadInputError, match=r"no token.*row=1"):
        greedy_decode(chain, [[5], []], max_new_tokens=3, stop_id=1, pad_id=PAD)


def test_shards_that_do_not_cover_the_model_in_order_are_an_error(folders):
    first, last = (Shard(folders["gpt2"], span, n_blocks=3, dtype="float32") for span in (range(1), range(1, 3)))
    chain: Chain = LocalChain([first, last])
    assert (chain.n_blocks, chain.spans) == (3, (range(1), range(1, 3)))
    for shards in ([], [first], [last, first]):
        with pytest.raises(ModelError, match="do not follow each other"):
            LocalChain(shards)


def test_a_call_reaches_the_shard_that_holds_the_block(folders):
    chain = local_chain(folders["bloom"], n_shards=3)
    for block in range(3):
        assert shard_of(chain.spans, block) == block
        assert chain.on_block(block, "prune_block", block, lambda weights: ({}, len(weights))) == 4
    with pytest.raises(ModelError, match=r"got=3, expected='0 to 2'"):
        chain.on_block(3, "sweep_advance", 3, [])
    with pytest.raises(ModelError, match="cannot be cut"):
        local_chain(folders["bloom"], n_shards=4)


def test_results_come_in_item_order_and_items_are_drawn_one_by_one(folders):
    chain = local_chain(folders["xglm"], n_shards=2)
    drawn = []
    shard = chain._shards

    class Echo:
        def __init__(self, n):
            self.n = n

        def tag(self, item):
            return (*item, self.n)

    chain._shards = tuple(Echo(n) for n in range(len(shard)))

    def items():
        for n in range(3):
            drawn.append(n)
            yield (n,)

    results = chain.stream("tag", items())
    assert next(results) == (0, 0, 1)
    assert drawn == [0]
    assert list(results) == [(1, 0, 1), (2, 0, 1)]


def test_items_travel_side_by_side_and_results_come_in_item_order(folders, threads):
    threads(2)
    chain = local_chain(folders["xglm"])
    both_are_in = Barrier(2, timeout=20)

    class Meeting:
        def tag(self, item):
            both_are_in.wait()
            return item, current_thread().name

    chain._shards = (Meeting(),)
    results = list(chain.stream("tag", range(6)))
    assert [item for item, _ in results] == list(range(6))
    assert len({name for _, name in results}) == 2
