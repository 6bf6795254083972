"""From a recipe to jobs: every id is known, and every bad input found, before anything is run or written."""

from mlprune.plan.pending import pending_jobs
from mlprune.plan.plan import Plan, build_plan

__all__ = ["Plan", "build_plan", "pending_jobs"]
