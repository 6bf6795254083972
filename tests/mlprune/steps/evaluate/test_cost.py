"""Costs of evaluations, counted by hand for the tiny model."""

from dataclasses import replace

import pytest

from mlprune.numeric.inference.log_probs import max_logits_of
from mlprune.plan import Plan
from mlprune.steps.evaluate.cost import MASK_BYTES, tasks_cost
from mlprune.steps.evaluate.jobs import EvaluateJob
from mlprune.steps.job_cost import JobCost
from tests.mlprune.steps.job_costs import costs_by_class, sizes_of
from tests.tiny_models import HIDDEN, VOCABULARY


def test_an_evaluation_costs_the_head_and_one_pass_per_generated_token(tiny_plan: Plan) -> None:
    for job, cost in costs_by_class(tiny_plan, EvaluateJob):
        tasks = [evaluation.task.task for evaluation in job.evaluations]
        n_translations = tasks.count("translation")
        assert cost.n_passes == 1 + len(tasks) - n_translations + 4 * n_translations
        assert cost.flops > 2 * HIDDEN * VOCABULARY * len(tasks)
        assert cost.thread_bytes > 128 * VOCABULARY * 4


def test_an_accelerator_needs_memory_for_its_larger_parts_of_logits(tiny_plan: Plan) -> None:
    def thread_bytes(device: str, batch_tokens: int) -> list[int]:
        jobs = [replace(job, batch_tokens=batch_tokens) for job in tiny_plan.jobs if isinstance(job, EvaluateJob)]
        jobs = [replace(job, model=replace(job.model, device=device)) for job in jobs]
        return [cost.thread_bytes for _, cost in costs_by_class(replace(tiny_plan, jobs=tuple(jobs)), EvaluateJob)]

    assert thread_bytes("cuda", 16) == thread_bytes("cpu", 16)
    for on_gpu, on_cpu in zip(thread_bytes("cuda", 65_536), thread_bytes("cpu", 65_536), strict=True):
        assert on_gpu - on_cpu >= 4 * (65_536 * VOCABULARY - max_logits_of("cpu")) > 0


@pytest.mark.parametrize(("n_weights", "expected"), [(2**20, 2**20 + 2**17), (2**30, 2**28 + 2**27)])
def test_a_swap_keeps_a_bit_per_weight_and_some_levels_in_main_memory(
    tiny_plan: Plan, n_weights: int, expected: int
) -> None:
    def cost(weights: int) -> JobCost:
        sizes = replace(sizes_of(tiny_plan), blocks=(1,), prunable=(weights,))
        return tasks_cost("evaluate", sizes, (), batch_tokens=8, device="cuda", disk_bytes=0.0)

    small, large = cost(8), cost(n_weights)
    masks_of_a_block = MASK_BYTES * (n_weights - 8)
    kept_by_small = 8 + 1
    assert large.fixed_bytes - small.fixed_bytes == expected - kept_by_small + masks_of_a_block
    assert large.device_fixed_bytes - small.device_fixed_bytes == masks_of_a_block
