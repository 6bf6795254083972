"""`mlprune plan` in words."""

from collections import Counter
from pathlib import Path

from mlprune.plan import Plan, build_plan, pending_jobs
from mlprune.plan.estimate import Needs, duration, measured_rates, needs_of
from mlprune.plan.pool import GIB, Pool
from mlprune.recipe import load_recipe
from mlprune.steps.observe.activations import ActivationsJob
from mlprune.store.store import Store
from ray_jobs.driver.capacity_checks import pool_in_words, pool_of_local_ray, require_room


def describe_plan(recipe_path: Path, store_uri: str) -> str:
    """What would run, what is done, the pool, disk and time, as lines of text; nothing is written.

    Raises:
        BadInputError: the recipe cannot be carried out, or does not fit on this machine.
    """
    plan = build_plan(load_recipe(recipe_path))
    store = Store(store_uri)
    pending = pending_jobs(plan.jobs, store)
    needs = needs_of(plan, pending)
    require_room(needs, store)
    pool = pool_of_local_ray(needs)
    total, left = (Counter(job.step for job in jobs) for jobs in (plan.jobs, pending))
    lines = [f"recipe {plan.recipe.name}: {_variants_in_words(plan)}, {len(plan.jobs)} jobs, {len(pending)} to do"]
    lines += [f"  {step:12} {n:6} jobs {n - left[step]:6} done {left[step]:6} to do" for step, n in total.items()]
    lines += [
        f"raw activations of {job.set_name}: at most {job.most_bytes / GIB:.3f} GiB, quota {job.quota_gib:g} GiB"
        for job in plan.jobs
        if isinstance(job, ActivationsJob)
    ]
    return "\n".join([*lines, f"pool:   {pool_in_words(pool)}", *_needs_in_words(needs, pool)])


def _needs_in_words(needs: Needs, pool: Pool) -> list[str]:
    """Memory, disk, object store and time, a line each."""
    rates = measured_rates(needs.model)
    time = duration(needs, pool, rates)
    where = "all in memory"
    if pool.is_offloaded:
        where = f"{sum(pool.resident)} in memory at once, read from disk in turn"
    working = f"{pool.working_bytes / GIB:.2f} of it for the work beside the weights"
    beside = f", and {pool.beside_bytes / GIB:.2f} GiB a replica that passes work on" if pool.beside_bytes else ""
    reading = f"; reading weights in turn {time.reading_s:.0f} s" if pool.is_offloaded else ""
    return [
        f"memory: about {pool.memory_bytes / GIB:.2f} GiB an actor, {working}{beside}",
        f"blocks: {pool.n_blocks}, {where}",
        f"disk:   about {needs.disk_gib:.3f} GiB more in the store",
        f"object store of Ray: about {needs.object_store_gib(pool):.3f} GiB",
        f"time:   about {time.total_s:.0f} s on machines like this one: matrix products {time.products_s:.0f} s at "
        f"{rates.flops / 1e9:.0f} GFLOP/s a piece{reading}; start-up and small work not counted",
    ]


def _variants_in_words(plan: Plan) -> str:
    """How many variants, and what became of the combinations of the recipe's lists."""
    words = f"{len(plan.variants)} variants"
    return f"{words} ({plan.recipe.n_excluded} combinations excluded)" if plan.recipe.n_excluded else words
