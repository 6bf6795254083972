"""Costs of evaluations, counted by hand for the tiny model."""

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
