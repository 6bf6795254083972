"""Blocks that do not fit with all their experts: the bytes of whole blocks, with few experts in memory at a time."""

import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from mlprune.capabilities.experts.routing import RoutingVisitor
from mlprune.errors import ModelError
from mlprune.models.local_chain import LocalChain, local_chain
from mlprune.models.placement.budget import MemoryBudget, Residency, residency, resident_blocks, smallest_budget
from mlprune.models.placement.expert_stream import ExpertStream
from mlprune.models.placement.memory_estimate import PROCESS_BYTES, footprint
from mlprune.models.shard import Shard
from tests.chains import WORKING_BYTES
from tests.expert_models import save_expert_model
from tests.mlprune.models import test_offload
from tests.mlprune.models.inference.test_expert_costs import role_batch
from tests.mlprune.models.test_offload import IN_A_PROCESS, N_BLOCKS
from tests.refusals import refused

all_results: Callable[..., Any] = test_offload.all_results
assert_same: Callable[..., None] = test_offload.assert_same
swept: Callable[..., Any] = test_offload.swept
TYPES = ("qwen3_moe", "gpt_oss", "deepseek_v3", "mixtral")
N_EXPERTS = 8
SIZES = {"moe_intermediate_size": 160, "intermediate_size": 160}
"""Experts so large that a block does not fit with all of them."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {
        name: save_expert_model(tmp_path_factory.mktemp(name), name, n_experts=N_EXPERTS, blocks=N_BLOCKS, **SIZES)
        for name in TYPES
    }


def budget_with(path: Path, n_experts: int) -> MemoryBudget:
    """Return memory for a block with this many of its experts."""
    sizes = footprint(path, "float32")
    n_bytes = max(sizes.without_experts) + n_experts * sizes.expert
    return MemoryBudget(PROCESS_BYTES + WORKING_BYTES + n_bytes, WORKING_BYTES)


class Watched:
    """Experts that a chain has in memory."""

    def __init__(self, chain: LocalChain) -> None:
        self.most, self.n_read = 0, 0
        self._modules = [
            module.get_submodule(experts.path)
            for shard in chain.shards
            for block, module in shard.runner.modules.items()
            if (experts := shard.architecture().block(block).experts) is not None
        ]
        for module in self._modules:
            stream: Any = vars(module)["stream"]
            stream._load = self._counted(stream._load)

    def _counted(self, load: Callable[[int], None]) -> Callable[[int], None]:
        def counted(expert: int) -> None:
            load(expert)
            self.n_read += 1
            names = [f"{number}.down_proj" for number in range(N_EXPERTS)]
            present = [
                name
                for module in self._modules
                for name in names
                if module.get_submodule(name).weight.device.type == "cpu"
            ]
            self.most = max(self.most, len(present))

        return counted


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("name", TYPES)
def test_results_do_not_depend_on_the_experts_in_memory(
    folders: Mapping[str, Path], name: str, threads: Callable[[int], None]
) -> None:
    expected = all_results(local_chain(folders[name]))
    routing = next(local_chain(folders[name]).stream(RoutingVisitor, [role_batch()]))
    for n_threads, n_shards, n_experts in ((1, 1, 1), (2, 2, 5), (2, 1, 2)):
        threads(n_threads)
        chain = local_chain(folders[name], n_shards=n_shards, budget=budget_with(folders[name], n_experts))
        watched = Watched(chain)
        assert_same(all_results(chain), expected)
        assert watched.n_read > N_EXPERTS
        assert watched.most <= n_shards * n_experts
        streamed = next(chain.stream(RoutingVisitor, [role_batch()]))
        assert all(torch.equal(sums, routing.sums[block]) for block, sums in streamed.sums.items())


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("name", ["qwen3_moe", "gpt_oss"])
def test_sweeps_and_pruned_models_do_not_depend_on_the_experts_in_memory(
    folders: Mapping[str, Path], name: str, threads: Callable[[int], None]
) -> None:
    dense = all_results(local_chain(folders[name]))
    for with_products in (False, True):
        expected = swept(local_chain(folders[name]), with_products=with_products)
        threads(2)
        chain = local_chain(folders[name], budget=budget_with(folders[name], 3))
        assert_same(swept(chain, with_products=with_products), expected)
        chain.everywhere(Shard.set_keep_masks, None)
        assert_same(all_results(chain), dense)


@pytest.mark.thorough("runs a model for every case")
def test_masks_of_streamed_experts_change_between_two_passes(folders: Mapping[str, Path]) -> None:
    reference = local_chain(folders["qwen3_moe"])
    chain = local_chain(folders["qwen3_moe"], budget=budget_with(folders["qwen3_moe"], 2))
    experts, module = reference.shards[0].architecture().experts[1], reference.shards[0].runner.modules[1]
    shape = module.get_submodule(experts.layers(0)[0]).get_parameter("weight").shape
    for seed in (0, 1):
        keep = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) > 0.5
        masks = {(1, experts.layers(expert)[0]): keep for expert in (0, 3, 7)}
        masks |= {(2, layer): torch.zeros(n, dtype=torch.bool) for layer, n in removed_layers(reference).items()}
        for one in (reference, chain):
            one.everywhere(Shard.set_keep_masks, masks)
        assert_same(all_results(chain), all_results(reference))


def removed_layers(chain: LocalChain) -> dict[str, torch.Size]:
    """Return both layers of expert 5 of block 2, with their shapes."""
    experts, module = chain.shards[0].architecture().experts[2], chain.shards[0].runner.modules[2]
    return {layer: module.get_submodule(layer).get_parameter("weight").shape for layer in experts.layers(5)}


def test_experts_are_streamed_only_if_no_whole_block_fits(folders: Mapping[str, Path]) -> None:
    sizes, span = footprint(folders["qwen3_moe"], "float32"), range(N_BLOCKS)
    least = smallest_budget(sizes, span, working_bytes=WORKING_BYTES)
    assert least == budget_with(folders["qwen3_moe"], 1).process_bytes
    for n in range(1, N_EXPERTS):
        budget = budget_with(folders["qwen3_moe"], n)
        assert residency(sizes, span, budget) == Residency(0, 1, n)
        assert resident_blocks(sizes, span, budget) == 0
    assert residency(sizes, span, budget_with(folders["qwen3_moe"], N_EXPERTS)) == Residency(0, 1)
    with refused(ModelError, got=f"{(least - 1) / 2**30:.2f} GiB"):
        residency(sizes, span, MemoryBudget(least - 1, WORKING_BYTES))


@pytest.mark.slow
def test_the_resident_memory_of_a_process_stays_below_a_budget_for_two_experts(tmp_path: Path) -> None:
    large: dict[str, Any] = {"hidden_size": 512, "moe_intermediate_size": 2048, "max_position_embeddings": 64}
    path = save_expert_model(tmp_path, n_experts=16, blocks=2, **large)
    sizes, budget = footprint(path, "float32"), budget_with(path, 2)

    def run(*arguments: object) -> tuple[str, int]:
        command = [sys.executable, "-c", IN_A_PROCESS, *map(str, arguments)]
        result, peak = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        return result, int(peak)

    result, peak = run(path, budget.process_bytes, budget.working_bytes)
    whole_result, whole_peak = run(path)
    assert result == whole_result
    assert peak < budget.process_bytes
    assert whole_peak - peak > sizes.block


def test_threads_share_an_expert_and_wait_for_another() -> None:
    present, most, log = set[int](), [0], list[int]()

    def load(expert: int) -> None:
        present.add(expert)
        most[0] = max(most[0], len(present))
        log.append(expert)

    stream = ExpertStream(load, present.discard, first=1, n_together=1)
    with stream.running(0):
        assert not log
    with stream.running(2), stream.running(2):
        assert log == [2]

    def run(order: range) -> None:
        for expert in order:
            with stream.running(expert):
                assert expert == 0 or expert in present

    workers = [threading.Thread(target=run, args=(order,)) for order in (range(6), range(5, -1, -1)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
    assert most == [1]
    assert not present


def test_an_expert_that_cannot_be_read_leaves_room_for_others() -> None:
    dropped = list[int]()

    def load(expert: int) -> None:
        if expert == 1:
            raise OSError("gone")

    stream = ExpertStream(load, dropped.append, first=0, n_together=1)
    with pytest.raises(OSError, match="gone"), stream.running(1):
        pass
    with stream.running(2):
        pass
    assert dropped == [1, 2]
