"""Shards with a memory budget give the bytes of shards without, and read weights once per pass."""

import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest
import torch

from mlprune.errors import ModelError
from mlprune.evaluation.scoring.batches import plan_texts
from mlprune.models.chain import advance_to
from mlprune.models.checkpoint.weight_files import WeightFiles
from mlprune.models.inference.decoding import MIN_PREFIX, StoppingCriteria, decode
from mlprune.models.inference.observation import StatisticsVisitor
from mlprune.models.inference.prefix_scoring import ScoringVisitor
from mlprune.models.local_chain import load_shard, local_chain
from mlprune.models.messages import TokenBatch
from mlprune.models.placement.budget import MemoryBudget, group_limit
from mlprune.models.placement.memory_estimate import PROCESS_BYTES, footprint
from mlprune.models.placement.placed_modules import PlacedModules
from mlprune.models.shard import Shard
from tests.chains import budget_for, run_visitor
from tests.refusals import refused
from tests.scored_texts import some_texts
from tests.tiny_models import ARCHITECTURES, PAD, save_tiny_model

NAMES = ("xglm", "gpt2", "bloom", "llama", "gemma2")
N_BLOCKS = 4
PREFIX = [1, *range(30, 30 + MIN_PREFIX)]
PROMPTS = [[*PREFIX, 50, 60, 70], [*PREFIX, 9], [*PREFIX, 7]]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {
        name: save_tiny_model(tmp_path_factory.mktemp(name), name, seed=5, blocks=N_BLOCKS)
        for name in (*NAMES, "opt", "gpt_neox")
    }


def offloaded(path, n, *, n_shards=1, dtype="float32", limit=None):
    budget = budget_for(path, n, dtype=dtype)
    return local_chain(path, n_shards=n_shards, dtype=dtype, budget=budget, limit=limit)


def small_groups(path):
    """A limit of two or three small batches per group."""
    return replace(group_limit(footprint(path, "float32")), n_bytes=25_000)


def tokens(*shape, seed=0):
    return torch.randint(3, 259, shape, generator=torch.Generator().manual_seed(seed))


def token_batches():
    batches = []
    for n, lengths in enumerate(((7, 4), (5,), (3, 3, 2), (6, 1), (2,))):
        mask = torch.arange(max(lengths)).unsqueeze(0) < torch.tensor(lengths).unsqueeze(1)
        batches.append(TokenBatch(torch.where(mask, tokens(*mask.shape, seed=n), PAD), mask, mask))
    return batches


def scoring_batches():
    return [planned.batch for planned in plan_texts(some_texts(heads=(4, 1)), batch_tokens=30)]


def tensors_of(observations=(), scores=()):
    statistics = [
        tensor for batch in observations for tensor in (*batch.sums.values(), batch.magnitudes, batch.n_tokens)
    ]
    return statistics + [tensor for batch in scores for tensor in (batch.log_probs, batch.is_greedy)]


def all_results(chain):
    """Statistics, scores and decoded tokens of a chain in its current state."""
    observations = chain.stream(StatisticsVisitor, token_batches())
    scores = chain.stream(ScoringVisitor, scoring_batches())
    return tensors_of(observations, scores), decode(
        chain, PROMPTS, StoppingCriteria(3, -1), pad_id=PAD, batches=[[0, 1], [2]]
    )


def assert_same(results, expected):
    assert len(results[0]) == len(expected[0])
    assert all(torch.equal(tensor, other) for tensor, other in zip(results[0], expected[0], strict=True))
    assert results[1] == expected[1]


def halved(weights, seed):
    generator = torch.Generator().manual_seed(seed)
    return {layer: torch.rand(weight.shape, generator=generator) > 0.5 for layer, weight in weights.items()}, seed


def scaled(weights, factor):
    masks, _ = halved(weights, 3)
    return masks, {layer: (weight * factor).double() for layer, weight in weights.items()}, None


def swept(chain, *, with_products):
    """A sequential sweep over a chain: its observations, and the results of the pruned chain."""
    keys = list(range(5))
    for key, batch in enumerate(token_batches()):
        chain.on_block(0, Shard.sweep_start, key, batch)
    seen = []
    for block in range(N_BLOCKS):
        advance_to(chain, block, keys)
        chain.on_block(block, Shard.sweep_observe, block, keys, with_products=with_products)

        def choose(weights, observation):
            seen.extend(tensor for key in keys for tensor in observation.sums[key].values())
            assert bool(observation.products) == with_products
            return scaled(weights, 2.0) if with_products else (halved(weights, 3)[0], {}, None)

        chain.on_block(block, Shard.sweep_prune, block, choose)
        if block + 1 < N_BLOCKS:
            chain.on_block(block, Shard.sweep_advance, block, keys)
    chain.everywhere(Shard.sweep_clear)
    after = all_results(chain)
    return seen + after[0], after[1]


PLACES = {
    "xglm": ((1, 1, 1), (2, 1, 3)),
    "bloom": ((2, 1, 2), (2, 3, 1)),
    "gemma2": ((1, 2, 1), (2, 1, 3)),
}
"""Numbers of threads, shards and blocks in memory for three kinds of positions; the other families have all."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in PLACES else pytest.mark.slow) for name in NAMES]
)
def test_results_do_not_depend_on_the_memory_budget(folders, name, threads):
    expected = all_results(local_chain(folders[name]))
    for n_threads, n_shards, n in PLACES.get(name, ((1, 1, 1), (2, 1, 2), (2, 1, 3), (1, 2, 1), (2, 3, 1))):
        threads(n_threads)
        limit = small_groups(folders[name]) if n_shards < 2 else None
        chain = offloaded(folders[name], n, n_shards=n_shards, limit=limit)
        assert chain.limit is not None
        assert chain.everywhere(Shard.group_limit)[0] is not None
        assert_same(all_results(chain), expected)


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize(("name", "with_products"), [("xglm", False), ("gpt2", True)])
def test_sweeps_and_the_pruned_models_do_not_depend_on_the_memory_budget(folders, name, with_products, threads):
    dense = all_results(local_chain(folders[name]))
    expected = swept(local_chain(folders[name]), with_products=with_products)
    for n_threads, n_shards, n in ((1, 1, 3), (2, 2, 1)) if with_products else ((1, 1, 1), (2, 1, 2)):
        threads(n_threads)
        chain = offloaded(folders[name], n, n_shards=n_shards)
        assert_same(swept(chain, with_products=with_products), expected)
        chain.everywhere(Shard.set_keep_masks, None)
        assert_same(all_results(chain), dense)


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("name", ["xglm", "gpt2"])
def test_offloaded_blocks_are_masked_rewritten_and_restored_bit_for_bit(folders, name):
    reference, chain = local_chain(folders[name]), offloaded(folders[name], 2)
    shapes = reference.on_block(0, Shard.sweep_prune, 0, lambda weights, _: ({}, {}, dict(weights)))
    masks = {(block, layer): mask for block in (0, 2) for layer, mask in halved(shapes, block)[0].items()}
    dense = all_results(reference)
    for model in (reference, chain):
        model.everywhere(Shard.set_keep_masks, masks)
        model.on_block(3, Shard.sweep_prune, 3, lambda weights, _: scaled(weights, 0.5))
    assert_same(all_results(chain), all_results(reference))
    for model in (reference, chain):
        model.on_block(0, Shard.sweep_prune, 0, lambda *_: ({}, {}, None))
    assert_same(all_results(chain), all_results(reference))
    for model in (reference, chain):
        model.everywhere(Shard.set_keep_masks, None)
    assert_same(all_results(chain), dense)


def test_changing_an_offloaded_block_reads_no_weights_unless_they_are_accessed(folders, monkeypatch):
    chain = offloaded(folders["xglm"], 1)
    monkeypatch.setattr(WeightFiles, "read", None)
    monkeypatch.setattr(WeightFiles, "copy", None)
    names = ARCHITECTURES["xglm"].layers
    assert chain.on_block(2, Shard.sweep_prune, 2, lambda weights, _: ({}, {}, list(weights))) == list(names)
    mask = torch.ones(64, 16, dtype=torch.bool)
    assert chain.on_block(2, Shard.sweep_prune, 2, lambda weights, _: ({"fc1": mask}, {}, len(weights))) == len(names)


class Watched:
    """Parts of a shard in memory, and how often each part was read."""

    def __init__(self, monkeypatch):
        self.n_read, self.present, self.most = Counter(), set(), 0
        read, drop = PlacedModules.read, PlacedModules.drop

        def reading(placed, part):
            self.n_read[part] += 1
            self.present.add(part)
            self.most = max(self.most, len(self.present))
            read(placed, part)

        def dropping(placed, part):
            self.present.discard(part)
            drop(placed, part)

        monkeypatch.setattr(PlacedModules, "read", reading)
        monkeypatch.setattr(PlacedModules, "drop", dropping)


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("n", [1, 3])
def test_a_pass_reads_every_weight_once_and_never_loads_more_than_the_window(folders, n, monkeypatch):
    watched, path = Watched(monkeypatch), folders["xglm"]
    chain = offloaded(path, n)
    staying = 1 if n == 3 else 0
    assert not watched.n_read
    list(chain.stream(StatisticsVisitor, token_batches()))
    offloaded_blocks = list(range(staying, N_BLOCKS))  # XGLM's embeddings are read from the checkpoint on demand
    assert watched.n_read == dict.fromkeys(offloaded_blocks, 1)
    assert (watched.most, watched.present) == (min(n, 2), set())
    list(chain.stream(ScoringVisitor, scoring_batches()))
    assert watched.n_read == {**dict.fromkeys(offloaded_blocks, 2), N_BLOCKS: 1}
    assert (watched.most, watched.present) == (min(n, 2), set())
    watched.n_read.clear()
    swept(chain, with_products=False)
    assert watched.most == min(n, 2)


def test_weights_that_are_not_in_memory_are_on_the_meta_device(folders):
    path = folders["xglm"]
    shard = load_shard(path, range(N_BLOCKS), n_blocks=N_BLOCKS, dtype="float32", budget=budget_for(path, 2))

    def loaded():
        modules = {**shard.runner.modules, "head": shard.runner.head}
        return {part for part, module in modules.items() if next(module.parameters()).device.type == "cpu"}

    assert loaded() == set()
    run_visitor([shard], StatisticsVisitor(token_batches()[0]))
    assert loaded() == {3}
    run_visitor([shard], ScoringVisitor(scoring_batches()[0]))
    assert loaded() == {"head"}
    shard.free_offloaded()
    assert loaded() == set()


@pytest.mark.thorough("runs a model for every case")
def test_a_checkpoint_of_another_dtype_gives_the_bytes_of_the_converted_model(folders):
    expected = all_results(local_chain(folders["gpt_neox"], dtype="bfloat16"))
    assert_same(all_results(offloaded(folders["gpt_neox"], 2, dtype="bfloat16")), expected)


@pytest.mark.thorough("runs a model for every case")
def test_a_budget_with_room_for_all_blocks_offloads_nothing(folders):
    chain = local_chain(folders["opt"], budget=MemoryBudget(2**31))
    assert chain.limit is None
    assert chain.everywhere(Shard.group_limit) == [None]
    chain.everywhere(Shard.free_offloaded)
    assert_same(all_results(chain), all_results(local_chain(folders["opt"])))


def test_a_budget_without_room_for_a_block_is_an_error_that_names_a_sufficient_one(folders):
    path = folders["opt"]
    with refused(ModelError, expected="0.86 GiB or more", got="0.60 GiB") as caught:
        local_chain(path, budget=MemoryBudget(PROCESS_BYTES))
    enough = float(str(caught.value.context["expected"]).split()[0])
    assert local_chain(path, budget=MemoryBudget(int(enough * 2**30))).n_blocks == N_BLOCKS


@pytest.mark.parametrize("n", [1, 2])
def test_a_missing_checkpoint_is_an_error_and_the_shard_works_again_once_it_is_restored(tmp_path, n):
    path = save_tiny_model(tmp_path, blocks=N_BLOCKS)
    chain = offloaded(path, n)
    expected = tensors_of(chain.stream(StatisticsVisitor, token_batches()))
    (path / "model.safetensors").rename(path / "elsewhere")
    with pytest.raises(ModelError):
        list(chain.stream(StatisticsVisitor, token_batches()))
    (path / "elsewhere").rename(path / "model.safetensors")
    again = tensors_of(chain.stream(StatisticsVisitor, token_batches()))
    assert all(torch.equal(tensor, other) for tensor, other in zip(again, expected, strict=True))


IN_A_PROCESS = """
import sys, torch
from pathlib import Path
from mlprune.models.inference.observation import StatisticsVisitor
from mlprune.models.local_chain import local_chain
from mlprune.models.messages import TokenBatch
from mlprune.models.placement.budget import MemoryBudget
from mlprune.processes.parallel import set_worker_threads

set_worker_threads(2)
budget = MemoryBudget(int(sys.argv[2]), int(sys.argv[3])) if len(sys.argv) > 2 else None
chain = local_chain(Path(sys.argv[1]), budget=budget)
mask = torch.ones(1, 32, dtype=torch.bool)
batches = [TokenBatch(torch.arange(32).unsqueeze(0) + n, mask, mask) for n in range(6)]
print(sum(float(batch.magnitudes.sum()) for batch in chain.stream(StatisticsVisitor, batches)))
lines = Path("/proc/self/status").read_text().splitlines()
print(next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")))
"""


@pytest.mark.slow
def test_the_resident_memory_of_a_process_stays_below_its_budget(tmp_path):
    path = save_tiny_model(tmp_path, blocks=12, hidden=1024)
    sizes = footprint(path, "float32")
    budget = budget_for(path, 3)
    memory = [budget.process_bytes, budget.working_bytes]

    def run(*arguments):
        command = [sys.executable, "-c", IN_A_PROCESS, *map(str, arguments)]
        result, peak = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        return result, int(peak)

    result, peak = run(path, *memory)
    whole_result, whole_peak = run(path)
    assert result == whole_result
    assert peak < memory[0] < whole_peak + budget.working_bytes
    assert whole_peak - peak > 6 * sizes.block
