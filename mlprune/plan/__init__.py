"""Plan a recipe: all jobs with their ids. Every bad input is found before anything runs or is written."""

from mlprune.plan.extend import extend_plan
from mlprune.plan.pending import pending_jobs
from mlprune.plan.plan import Plan, build_plan

__all__ = ["Plan", "build_plan", "extend_plan", "pending_jobs"]
