"""From a recipe to jobs: every id is known, and every bad input found, before anything is run or written."""

from mlprune.plan.planning import Plan, build_plan
from mlprune.plan.progress import pending_jobs

__all__ = ["Plan", "build_plan", "pending_jobs"]
