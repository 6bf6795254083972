"""Plan a recipe: all jobs with their ids. Every bad input is found before anything runs or is written."""

from mlprune.planning.pending import pending_jobs
from mlprune.planning.plan import Plan, build_plan, extend_plan

__all__ = ["Plan", "build_plan", "extend_plan", "pending_jobs"]
