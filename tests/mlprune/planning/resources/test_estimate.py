"""Estimates of the disk space and time of a plan."""

from dataclasses import replace
from pathlib import Path

import pytest

from mlprune.errors import BadInputError
from mlprune.models.placement.memory_estimate import GROUP_BYTES
from mlprune.planning.resources.estimate import Duration, Needs, estimate_duration, mean_flops, needs_of
from mlprune.planning.resources.node_capacity import GIB, Gpu, Node, Pool
from mlprune.planning.resources.rates import GpuRates, Rates
from mlprune.steps.job import JobCost
from tests.tiny_recipes import plan_of, small_recipe, write_recipe

PLENTY = Node(4.0, 64 * GIB)
RATES = Rates(thread_flops=10.0, file_bytes=100.0)


@pytest.fixture(scope="module")
def needs(tiny_inputs: Path) -> Needs:
    plan = plan_of(write_recipe(tiny_inputs, small_recipe(), name="estimated.yaml"))
    return needs_of(plan, plan.jobs)


def with_costs(needs: Needs, *costs: JobCost, **compute: object) -> Needs:
    return replace(needs, costs=costs, compute=needs.compute.model_copy(update=compute))


def duration(needs: Needs, pool: Pool, rates: Rates = RATES) -> Duration:
    found = estimate_duration(needs, pool, rates)
    assert found is not None
    return found


def test_workers_share_jobs_and_threads_share_pieces(needs: Needs) -> None:
    some = with_costs(needs, *[JobCost("observe", flops=100.0)] * 4, replicas=2)
    pool = some.pool([PLENTY])
    assert (pool.n_workers, pool.threads) == (2, 2)
    found = duration(some, pool)
    assert (found.products_s, found.reading_s) == (400 / 2 / 2 / 10, 0)
    assert found.cpu_hours(pool) == 4 * 10 / 3600
    assert found.gpu_hours(pool) == 0


def test_shards_work_on_different_batches_but_not_in_a_sweep(needs: Needs) -> None:
    some = with_costs(needs, JobCost("observe", flops=120.0), JobCost("sweep", flops=120.0), replicas=1, shards=3)
    pool = some.pool([Node(3.0, 64 * GIB)])
    assert duration(some, pool).products_s == (120 / 3 + 120) / 10


def test_an_offloaded_model_is_read_once_per_pass_in_parallel_with_the_products(needs: Needs) -> None:
    some = with_costs(
        needs, JobCost("observe", flops=50.0, n_passes=3.0), JobCost("evaluate", n_passes=2.0), replicas=1
    )
    pool = some.pool([Node(1.0, 64 * GIB)])
    assert not pool.is_offloaded
    offloaded = replace(pool, resident=(1,))
    found = duration(some, offloaded)
    assert found.reading_s == 5 * sum(needs.sizes.blocks) / 100
    assert found.total_s == max(found.reading_s, 5.0)


def test_every_batch_reads_the_experts_that_do_not_fit(needs: Needs) -> None:
    blocks = needs.sizes.blocks
    sizes = replace(needs.sizes, without_experts=tuple(size // 4 for size in blocks), expert=1)
    cost = JobCost("observe", n_passes=2.0, n_tokens=10.0 * needs.batch_tokens)
    some = replace(with_costs(needs, cost, replicas=1), sizes=sizes)
    pool = replace(some.pool([Node(1.0, 64 * GIB)]), resident=(0,))
    assert pool.streams_experts
    in_experts = sum(blocks) - sum(sizes.without_experts)
    assert duration(some, pool).reading_s == (2 * sum(blocks) + 8 * in_experts) / 100


def test_only_batches_between_shards_need_the_object_store(needs: Needs) -> None:
    whole = with_costs(needs, *needs.costs, replicas=2, shards=1)
    assert whole.object_store_gib(whole.pool([PLENTY])) == 0
    cut = with_costs(needs, *needs.costs, replicas=2, shards=2)
    states = 128 * 16 * 4
    statistics = 4 * (128 // 32) * (3 * 16 + 64) * 3
    assert cut.object_store_gib(cut.pool([PLENTY])) == 2 * 4 * (states + statistics) / 2**30


def test_sums_of_statistics_are_counted_only_if_a_set_is_observed(needs: Needs) -> None:
    others = [cost for cost in needs.costs if cost.step != "observe"]
    assert {"sweep", "evaluate"} <= {cost.step for cost in others}
    cut = with_costs(needs, *others, replicas=1, shards=2)
    pool = cut.pool([Node(2.0, 64 * GIB)])
    assert cut.object_store_gib(pool) == 4 * 128 * 16 * 4 / 2**30


def test_a_group_in_the_object_store_has_a_batch_per_thread(needs: Needs) -> None:
    cut = with_costs(needs, *needs.costs, replicas=1, shards=2)
    one_thread, two_threads = cut.pool([Node(2.0, 64 * GIB)]), cut.pool([PLENTY])
    assert (one_thread.threads, two_threads.threads) == (1, 2)
    assert cut.object_store_gib(two_threads) == 2 * cut.object_store_gib(one_thread)


def test_groups_of_an_offloaded_model_are_bounded_by_their_size_and_not_by_threads(needs: Needs) -> None:
    cut = with_costs(needs, *needs.costs, replicas=1, shards=2)
    offloaded = replace(cut.pool([PLENTY]), resident=(1, 1))
    more_threads = replace(offloaded, threads=4 * offloaded.threads)
    assert cut.object_store_gib(offloaded) == cut.object_store_gib(more_threads)
    assert cut.object_store_gib(offloaded) <= 2 * GROUP_BYTES / GIB


def test_disk_space_is_the_sum_over_all_jobs(needs: Needs) -> None:
    assert with_costs(needs, JobCost("a", disk_bytes=2**29), JobCost("b", disk_bytes=2**30)).disk_gib == 1.5
    assert needs.disk_gib > 0


def test_a_budget_that_is_too_small_is_refused(needs: Needs) -> None:
    short = with_costs(needs, *needs.costs, memory_gib_per_actor=0.1)
    with pytest.raises(BadInputError, match="memory_gib_per_actor"):
        short.pool([PLENTY])


def test_accelerators_compute_their_blocks_and_read_them_once_per_pass(needs: Needs) -> None:
    some = with_costs(needs, *[JobCost("observe", flops=3000.0, n_passes=2.0, runs_model=True)] * 4)
    pool = some.pool([Node(4.0, 64 * GIB, (Gpu(16 * GIB),) * 2)])
    assert (pool.n_workers, pool.device_blocks, pool.n_blocks) == (2, 3, 3)
    rates = replace(RATES, gpu=GpuRates(flops=1000.0, weight_bytes=None, source="stated"))
    found = duration(some, pool, rates)
    assert found.products_s == 6000 / 1000
    assert (found.gpu_hours(pool), found.cpu_hours(pool)) == (2 * 6 / 3600, 4 * 6 / 3600)
    weight_bytes = sum(needs.sizes.blocks)
    slow_memory = replace(RATES, gpu=GpuRates(flops=1000.0, weight_bytes=weight_bytes / 8, source="stated"))
    assert duration(some, pool, slow_memory).products_s == 6 + 4 * 8
    half = replace(pool, device_blocks=1)
    assert duration(some, half, rates).products_s == pytest.approx((6000 / 1000) / 3 + 2 / 3 * 6000 / 10 / pool.threads)


def test_without_the_rate_of_the_accelerators_the_time_is_unknown(needs: Needs) -> None:
    some = with_costs(needs, JobCost("observe", flops=3000.0, runs_model=True))
    with_gpu = some.pool([Node(4.0, 64 * GIB, (Gpu(16 * GIB),))])
    assert estimate_duration(some, with_gpu, RATES) is None
    assert estimate_duration(some, replace(with_gpu, device_blocks=0), RATES) is not None


def test_hidden_states_pass_every_border_and_results_grow_on_the_way(needs: Needs) -> None:
    some = with_costs(needs, JobCost("observe", n_tokens=100, result_bytes=600.0), replicas=1, shards=3)
    states = 100 * needs.sizes.hidden * needs.sizes.itemsize
    assert some.forwarded_gib(some.pool([PLENTY])) == (2 * states + 200 + 400 + 600) / 2**30
    whole = with_costs(some, *some.costs, shards=1)
    assert whole.forwarded_gib(whole.pool([PLENTY])) == 0


def test_the_jobs_of_a_plan_count_the_tokens_that_they_forward(needs: Needs) -> None:
    forwarded = {cost.step for cost in needs.costs if cost.n_tokens}
    assert forwarded == {cost.step for cost in needs.costs if cost.runs_model}


def test_the_mean_operations_of_a_job_are_those_of_its_step_and_small_steps_have_none() -> None:
    costs = [JobCost("sweep", flops=2e12), JobCost("sweep", flops=4e12), JobCost.small("compare")]
    assert mean_flops(costs) == {"sweep": 3e12}
