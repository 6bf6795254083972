"""Descriptions of clusters: the grammar, and plans of a night of XGLM-7.5B on clusters of eight kinds."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import yaml

from mlprune.errors import BadInputError
from mlprune.models.placement.budget import USABLE_SHARE
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.planning.resources.described_cluster import parse_cluster
from mlprune.planning.resources.estimate import Needs, estimate_duration
from mlprune.planning.resources.node_capacity import GIB, Gpu, Node, Pool, n_fitting
from mlprune.planning.resources.rates import GPU_KINDS, Rates, stated_gpu_rates
from mlprune.pruning.spec import ScoreSpec
from mlprune.recipe.models import ComputeConfig
from mlprune.steps.evaluate.model_evaluation import tasks_cost
from mlprune.steps.job import JobCost, ModelRef, SetSize, block_flops
from mlprune.steps.observe.dense_pass import statistics_cost
from mlprune.steps.prune.ordering import ordering_cost
from mlprune.steps.prune.sweep import sweep_cost
from tests.refusals import refused

A100, V100 = GPU_KINDS["A100-80GB"].memory_bytes, GPU_KINDS["V100-32GB"].memory_bytes


def test_machines_have_cpus_memory_and_accelerators() -> None:
    assert parse_cluster("8x(16 CPU, 100 GiB, 1 A100-80GB)") == [Node(16.0, 70 * GIB, (Gpu(A100, "A100-80GB"),))] * 8
    assert parse_cluster("( 2 gpu 24GiB , 10 gib , 0.5 CPU )") == [Node(0.5, 7 * GIB, (Gpu(24 * GIB),) * 2)]
    assert parse_cluster("(8 CPUs, 10 GiB)") == [Node(8.0, 7 * GIB)]
    assert parse_cluster("(8 CPU, 10 GiB, 4 V100 32GB)")[0].gpus == (Gpu(V100, "V100-32GB", has_bfloat16=False),) * 4


def test_groups_are_joined_and_keep_their_order() -> None:
    found = parse_cluster("2x(4 CPU, 10 GiB)+ (0 CPU, 20 GiB) + 3 X (8 CPU, 1 TiB, 2 L4)")
    assert [(node.n_cpus, node.n_gpus) for node in found] == [(4, 0), (4, 0), (0, 0), (8, 2), (8, 2), (8, 2)]


def test_the_object_store_of_ray_takes_its_default_part_of_the_memory() -> None:
    small, large = parse_cluster("(1 CPU, 100 GiB) + (1 CPU, 2 TiB)")
    assert (small.memory_bytes, large.memory_bytes) == (70 * GIB, 2048 * GIB - 200 * 10**9)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "8x(16 CPU, 100 GiB, 1 A100-80GB)"),
        ("16 CPU, 100 GiB", "another form"),
        ("2x(4 CPU, 8 GiB", "another form"),
        ("2x(4 CPU, 8 GiB) + ", "another form"),
        ("2x(4 CPU, 8 GiB) (4 CPU, 8 GiB)", "another form"),
        ("(4 CPU, GiB)", "another form"),
        ("(4 CPU, -8 GiB)", "another form"),
        ("(1e3 CPU, 8 GiB)", "unknown kind"),
        ("0x(4 CPU, 8 GiB)", "out of range"),
        ("1000x(4 CPU, 8 GiB) + (4 CPU, 8 GiB)", "out of range"),
        ("99999999999x(4 CPU, 8 GiB)", "out of range"),
        ("(4 CPU)", "no memory"),
        ("(8 GiB)", "no CPUs"),
        ("(4 CPU, 0 GiB)", "no memory"),
        ("(4 CPU, 8 GB)", "not in GiB"),
        ("(4 CPU, 8 GiB, 2 GPU)", "neither kind nor memory"),
        ("(4 CPU, 4 CPU, 8 GiB)", "twice"),
        ("(4 CPU, 8 GiB, 1 L4, 1 A10)", "twice"),
        ("(4 CPU, 8 GiB, 1 A100)", "A100-40GB, A100-80GB"),
        ("(4 CPU, 8 GiB, 0.5 L4)", "not a number of accelerators"),
        ("(4 CPU, 8 GiB, 999999999 L4)", "not a number of accelerators"),
    ],
)
def test_another_form_is_refused_in_one_line(text: str, part: str) -> None:
    with refused(BadInputError) as caught:
        parse_cluster(text)
    assert part in str(caught.value)


@dataclass(frozen=True)
class Case:
    """A cluster, and what is expected of the pool on it."""

    cluster: str
    replicas: int
    shards: int
    device_blocks: int = 0
    is_offloaded: bool = False
    batch_tokens: int | None = None
    compute: Sequence[tuple[str, Any]] = ()


CASES = {
    "laptop": Case("(8 CPU, 16 GiB)", 1, 1, is_offloaded=True),
    "workstation": Case("(16 CPU, 64 GiB, 1 RTX 4090)", 1, 1, device_blocks=32, batch_tokens=2048),
    "node of A100": Case("(96 CPU, 1 TiB, 8 A100-80GB)", 8, 1, device_blocks=32),
    "nodes of H100": Case("4x(96 CPU, 1 TiB, 8 H100)", 32, 1, device_blocks=32),
    "CPUs only": Case("10x(32 CPU, 128 GiB)", 20, 1),
    "uneven": Case("2x(8 CPU, 32 GiB, 1 L4) + (64 CPU, 256 GiB, 4 A100-40GB) + (4 CPU, 16 GiB)", 3, 2, 32),
    "fractions": Case("(32 CPU, 256 GiB, 4 H200)", 8, 1, 32, compute=[("gpus_per_actor", 0.5)]),
    "tiny GPUs": Case("6x(8 CPU, 32 GiB, 1 GPU 8 GiB)", 1, 4, 32, batch_tokens=512),
}


def night(case: Case) -> tuple[Needs, list[Node]]:
    """106 variants of XGLM-7.5B on XNLI in 15 languages, with the passes and sweeps that make them."""
    nodes = parse_cluster(case.cluster)
    has_gpus = any(node.n_gpus for node in nodes)
    device, itemsize = ("cuda", 2) if has_gpus else ("cpu", 4)
    compute = ComputeConfig.model_validate(dict(case.compute) | {"batch_tokens": case.batch_tokens or "auto"})
    width, vocabulary = 4096, 256_008
    sizes = Footprint(
        before=width * vocabulary * itemsize,
        blocks=(12 * width**2 * itemsize,) * 32,
        tail=width * vocabulary * itemsize,
        tied=width * vocabulary * itemsize,
        on_demand=width * vocabulary * itemsize,
        prunable=(4 * width**2,) * 2 + (width**2,) * 4,
        widest=4 * width,
        hidden=width,
        inputs=7 * width,
        vocabulary=vocabulary,
        itemsize=itemsize,
    )
    batch_tokens, demonstrations = compute.planned_batch_tokens(device, None), SetSize(100 * 512, 100)
    score = tasks_cost("evaluate", sizes, [], batch_tokens=batch_tokens, device=device)
    n_tokens = 15 * 377_465
    score = replace(
        score,
        flops=block_flops(sizes, n_tokens) + 2.0 * n_tokens * width * vocabulary,
        n_tokens=n_tokens,
        disk_bytes=1e6,
    )
    costs = (
        *[statistics_cost("observe", sizes, demonstrations, batch_tokens=batch_tokens)] * 6,
        *[ordering_cost("prune", sizes, n_sparsities=10)] * 32,
        sweep_cost("sweep", sizes, demonstrations, batch_tokens=batch_tokens, score=ScoreSpec("wanda")),
        *[score] * 106,
    )
    model = ModelRef("m" * 20, "model", "xglm", 32, None, "bfloat16" if has_gpus else "float32", device)
    return Needs(compute, model, sizes, costs), nodes


def check_budgets(pool: Pool, nodes: Sequence[Node]) -> None:
    """The nodes have room for every actor, and no accelerator is shared by more actors than fit on it."""
    usable = [node for node in nodes if node.n_cpus > 0 and n_fitting(node, pool.actor)]
    assert sum(n_fitting(node, pool.actor) for node in usable) >= pool.n_actors
    if pool.n_gpus:
        per_gpu = max(1, int(1 / pool.n_gpus + 1e-9))
        on_gpu = per_gpu * (pool.device_weight_bytes + pool.accelerators.working_bytes)
        assert all(on_gpu <= USABLE_SHARE * node.gpu_bytes for node in usable)


@pytest.mark.thorough("computes many cases")
@pytest.mark.parametrize("name", CASES)
def test_a_night_is_planned_on_clusters_of_eight_kinds(name: str) -> None:
    case = CASES[name]
    needs, nodes = night(case)
    pool = needs.pool(nodes)
    found = (pool.n_workers, pool.n_shards, pool.device_blocks, pool.is_offloaded)
    assert found == (case.replicas, case.shards, case.device_blocks, case.is_offloaded)
    check_budgets(pool, nodes)
    gpu = stated_gpu_rates(nodes, needs.model, n_rows=needs.batch_tokens)
    time = estimate_duration(needs, pool, Rates(5e10, 1e9, gpu))
    assert (time is None) == (name == "tiny GPUs")
    assert needs.forwarded_gib(pool) == 0 or pool.n_shards > 1


def test_the_night_on_eight_gpus_takes_as_long_as_counted_batch_by_batch() -> None:
    """`tests/benchmarks/gpu_night.py` counts 1.77 hours for the evaluations, head and attention included."""
    needs, nodes = night(CASES["node of A100"])
    pool = needs.pool(nodes)
    time = estimate_duration(needs, pool, Rates(5e10, 1e9, stated_gpu_rates(nodes, needs.model, n_rows=8192)))
    assert time is not None
    assert time.total_s / 3600 == pytest.approx(1.77, abs=0.06)
    assert time.gpu_hours(pool) == pytest.approx(8 * time.total_s / 3600)


@pytest.mark.thorough("computes many cases")
def test_a_cluster_that_is_too_small_is_told_what_would_suffice() -> None:
    needs, nodes = night(Case("2x(2 CPU, 4 GiB)", 0, 0))
    with pytest.raises(BadInputError, match="does not fit") as caught:
        needs.pool(nodes)
    gib = float(re.findall(r"[0-9.]+(?= GiB)", str(caught.value.context["expected"]))[0])
    check_budgets(needs.pool([Node(2.0, int(gib * GIB))]), [Node(2.0, int(gib * GIB))])


@pytest.mark.thorough("computes many cases")
def test_a_recipe_that_asks_too_much_of_a_cluster_is_told_a_line_that_fits() -> None:
    needs, nodes = night(Case("2x(16 CPU, 64 GiB, 1 A100-80GB)", 0, 0, compute=[("gpus_per_actor", 2)]))
    with pytest.raises(BadInputError, match="does not fit") as caught:
        needs.pool(nodes)
    line = yaml.safe_load(str(caught.value.context["expected"]))["compute"]
    fitting = replace(needs, compute=ComputeConfig.model_validate(line))
    check_budgets(fitting.pool(nodes), nodes)


def test_jobs_without_a_model_do_not_change_the_night() -> None:
    needs, nodes = night(CASES["node of A100"])
    more = replace(needs, costs=(*needs.costs, JobCost("compare")))
    assert more.pool(nodes) == needs.pool(nodes)
