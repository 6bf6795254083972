"""Gram matrices of experts: files of a few experts, and passes that fit in memory and do not change a byte."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from mlprune.methods import StatisticsName
from mlprune.models.placement.memory_estimate import Footprint, footprint
from mlprune.models.shard import Shard
from mlprune.recipe.models import ComputeConfig
from mlprune.steps.job import SetSize
from mlprune.steps.observe import expert_products
from mlprune.steps.observe.block_files import read_block_products
from mlprune.steps.observe.block_pass import block_pass_cost
from mlprune.steps.observe.expert_products import expert_files, pass_bytes, passes_over, planned_passes
from mlprune.steps.prune.ordering import MethodCost, ordering_cost
from tests.expert_models import save_expert_model
from tests.tiny_recipes import FinishedRun, finished_run, small_recipe, write_texts

N_EXPERTS, N_BLOCKS = 6, 2
LANGUAGES = ("fr", "sw")


def products_recipe() -> dict[str, Any]:
    """Variants that read the Gram matrices of one set and of two, for new weights and for better masks."""
    sizes = {"kind": "monolingual", "shots": 2, "samples": 3, "max_tokens": 40}
    sets = [{"name": name, "language": name, **sizes} for name in LANGUAGES]
    one = {"demonstrations": "fr", "propagation": "dense", "sparsity": 0.5}
    both = {"over": list(LANGUAGES), "aggregate": "mean", "propagation": "dense", "sparsity": 0.5}
    variants = [
        {"name": "one", "score": "sparsegpt", **one},
        {"name": "both", "score": "sparsegpt", **both},
        {"name": "swaps", "score": "wanda", "refine": "gram_swaps", **both},
    ]
    return small_recipe() | {"demonstrations": sets, "variants": variants, "evaluations": []}


class Runs:
    """Runs with files of any size, in as many passes as memory allows."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        save_expert_model(folder / "model", n_experts=N_EXPERTS, blocks=N_BLOCKS)
        write_texts(folder)
        self.folder, self._patch = folder, patch
        self.n_observed = Counter[str]()

    def run(self, name: str, *, file_bytes: int, pass_bytes: int) -> FinishedRun:
        observe = Shard.sweep_observe

        def counted(*args: Any, **kwargs: Any) -> None:
            self.n_observed[name] += 1
            observe(*args, **kwargs)

        with self._patch.context() as patch:
            patch.setattr(expert_products, "FILE_BYTES", file_bytes)
            patch.setattr(expert_products, "PASS_BYTES", pass_bytes)
            patch.setattr(Shard, "sweep_observe", counted)
            return finished_run(self.folder, products_recipe(), name=name)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    with pytest.MonkeyPatch.context() as patch:
        yield Runs(tmp_path_factory.mktemp("products"), patch)


def products_of(run: FinishedRun) -> list[Mapping[str, torch.Tensor]]:
    records = run.store.records("gram_matrices")
    return [read_block_products(run.store, one.artefacts, block) for one in records for block in range(N_BLOCKS)]


@pytest.mark.thorough("runs a model for every case")
def test_passes_change_no_byte_and_files_no_value(runs: Runs) -> None:
    sizes = footprint(runs.folder / "model", "float32")
    of_two = 2 * 4 * sizes.expert_products
    whole = runs.run("whole", file_bytes=2**30, pass_bytes=2**30)
    once = runs.run("once", file_bytes=of_two, pass_bytes=2**30)
    twice = runs.run("twice", file_bytes=of_two, pass_bytes=4 * of_two)
    thrice = runs.run("thrice", file_bytes=of_two, pass_bytes=1)
    n = len(LANGUAGES) * N_BLOCKS
    assert runs.n_observed == {"whole": n, "once": n, "twice": 2 * n, "thrice": 3 * n}
    records = [[record for record in run.store.records() if record.kind != "runs"] for run in (once, twice, thrice)]
    assert records[0] == records[1] == records[2]
    (of_whole, _), (of_files, _) = (list(run.store.records("gram_matrices")) for run in (whole, thrice))
    assert of_whole.id == of_files.id
    names = [artefact.path.rpartition("/")[2] for artefact in of_files.artefacts]
    parts = ("", ".experts-00000", ".experts-00002", ".experts-00004")
    assert names == [f"block-00{block}{part}.safetensors" for block in range(N_BLOCKS) for part in parts]
    for expected, found in zip(products_of(whole), products_of(thrice), strict=True):
        with pytest.raises(KeyError):
            found["no such input"]
        assert expected.keys() == found.keys()
        assert all(torch.equal(found[name], matrix) for name, matrix in expected.items())
    masks = [list(run.store.records("mask_blocks")) for run in (whole, thrice)]
    assert masks[0] == masks[1] != []


def test_pruning_reads_the_matrices_of_few_experts_at_a_time() -> None:
    needs: tuple[StatisticsName, ...] = ("squares", "products")
    stored, swept = (
        ordering_cost(
            "prune", QWEN_30B, n_sparsities=1, method=MethodCost(needs, changes_weights=True, is_stored=is_stored)
        )
        for is_stored in (True, False)
    )
    of_experts = 8 * 128 * QWEN_30B.expert_products
    assert stored.memory_bytes(2) < swept.memory_bytes(2) - of_experts / 2


def test_files_and_passes_cover_every_expert_once() -> None:
    n_products = 2048**2 + 768**2
    assert expert_files(8, 100) == ()
    files = expert_files(128, n_products)
    assert [expert for numbers in files for expert in numbers] == list(range(128))
    assert all(4 * n_products * len(numbers) <= expert_products.FILE_BYTES for numbers in files)
    for n_bytes in (1, 2**30, 2**31, 2**40):
        passes = passes_over(files, n_products, n_bytes=n_bytes)
        assert [numbers for group in passes for numbers in group] == list(files)
        sizes = [8 * n_products * sum(map(len, group)) for group in passes]
        assert max(sizes) <= max(n_bytes, 8 * n_products * len(files[0]))
    assert passes_over((), n_products, n_bytes=1) == ((),)


def test_the_memory_of_an_actor_limits_the_experts_of_a_pass() -> None:
    assert pass_bytes(ComputeConfig()) == expert_products.PASS_BYTES
    assert pass_bytes(ComputeConfig(memory_gib_per_actor=4)) == 2**30


QWEN_30B = Footprint(
    before=0,
    blocks=(2**30,) * 48,
    tail=0,
    tied=0,
    on_demand=0,
    prunable=(2048 * 4096,) * 2 + (2048 * 512,) * 2 + (2048 * 1536,) * 128 + (2048 * 768,) * 128,
    widest=4096,
    hidden=2048,
    inputs=2048 + 4096 + 128 * (2048 + 768),
    vocabulary=151_936,
    itemsize=2,
    input_products=2048**2 + 4096**2 + 128 * (2048**2 + 768**2),
    idle_products=120 * (2048**2 + 768**2),
    n_experts=128,
    expert_products=2048**2 + 768**2,
)


def test_passes_bound_the_memory_and_repeat_the_products_of_blocks() -> None:
    size = SetSize(1000, 10)
    observed: tuple[StatisticsName, ...] = ("products",)
    costs = {
        n_bytes: block_pass_cost("observe", QWEN_30B, size, batch_tokens=512, observed=observed, product_bytes=n_bytes)
        for n_bytes in (2**40, 2**31, 2**30)
    }
    assert [cost.n_runs for cost in costs.values()] == [1, 3, 5]
    assert len(planned_passes(QWEN_30B, n_bytes=2**31)) == 3
    once, thrice, _ = costs.values()
    assert once.fixed_bytes > 8 * QWEN_30B.input_products
    assert thrice.fixed_bytes < 2**31 + 8 * (2048**2 + 4096**2) + 2**30
    assert once.disk_bytes == thrice.disk_bytes
    forward = block_pass_cost("observe", QWEN_30B, size, batch_tokens=512, observed=()).flops
    assert thrice.flops - once.flops == pytest.approx(2 * forward)
