"""`mlprune plan` in words."""

from collections import Counter
from pathlib import Path

from mlprune.plan import Plan, build_plan, pending_jobs
from mlprune.plan.estimate import estimate
from mlprune.recipe import load_recipe
from mlprune.storage import Store
from ray_jobs.running import require_room


def describe_plan(recipe_path: Path, store_uri: str) -> str:
    """What would run, what is done, memory, disk and time, as lines of text; nothing is written.

    Raises:
        BadInputError: the recipe cannot be carried out, or does not fit.
    """
    plan = build_plan(load_recipe(recipe_path))
    store = Store(store_uri)
    pending = pending_jobs(plan.jobs, store)
    needs = estimate(plan, pending)
    require_room(needs, plan, store)
    total, left = (Counter(job.step for job in jobs) for jobs in (plan.jobs, pending))
    lines = [f"recipe {plan.recipe.name}: {_variants_in_words(plan)}, {len(plan.jobs)} jobs, {len(pending)} to do"]
    lines += [f"  {step:12} {n:6} jobs {n - left[step]:6} done {left[step]:6} to do" for step, n in total.items()]
    lines += [
        f"memory: about {needs.memory_gib_per_worker:.2f} GiB a worker",
        f"disk:   about {needs.disk_gib:.3f} GiB more in the store",
        f"time:   about {needs.compute_s:.0f} s of matrix products on one thread of this machine, divided by workers",
    ]
    return "\n".join(lines)


def _variants_in_words(plan: Plan) -> str:
    """How many variants, and what became of the combinations of the recipe's lists."""
    words = f"{len(plan.variants)} variants"
    return f"{words} ({plan.recipe.n_excluded} combinations excluded)" if plan.recipe.n_excluded else words
