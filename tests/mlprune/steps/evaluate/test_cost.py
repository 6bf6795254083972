"""Costs of evaluations, counted by hand for the tiny model."""

from dataclasses import replace

from mlprune.numeric.inference.log_probs import max_logits_of
from mlprune.plan import Plan
from mlprune.steps.evaluate.jobs import EvaluateJob
from tests.mlprune.steps.job_costs import costs_by_class
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
