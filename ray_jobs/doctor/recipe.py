"""Examination of a recipe: its models, data, plug-ins and extras, and the memory, disk and devices that it needs."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from mlprune.counted import counted
from mlprune.errors import BadInputError, PluginError
from mlprune.plan import Plan, build_plan, extend_plan, pending_jobs
from mlprune.plan.estimate import adopted_evaluations, needs_of
from mlprune.plan.node_capacity import format_node
from mlprune.recipe import load_recipe
from mlprune.steps.job import Job
from mlprune.store.store import Store
from ray_jobs.doctor.findings import Finding, missing, ok, warning
from ray_jobs.driver.capacity_checks import format_pool, in_process_pool, local_ray_pool, require_room
from ray_jobs.driver.model_imports import ALLOW_IMPORT, import_requested, pending_imports, requested_imports
from ray_jobs.workers.node_resources import local_node

SUBJECT = "recipe"


def examine_recipe(path: Path, *, store_uri: str, address: str, allowed_plugins: Sequence[Path] = ()) -> list[Finding]:
    """Examine a recipe as `mlprune plan` would plan it; nothing is written.

    Args:
        store_uri: the store of the run; it may not exist yet.
        address: `none` or `local`; for other addresses the resources of the nodes are not compared.
        allowed_plugins: files of plug-ins that the recipe may name.
    """
    try:
        recipe = load_recipe(path, allowed_plugins=allowed_plugins)
    except PluginError as err:
        return [missing(SUBJECT, str(err), f"mlprune doctor --recipe {path} --allow-plugins FILE, or pip install it")]
    except BadInputError as err:
        return [missing(SUBJECT, str(err), f"correct {path}")]
    findings = [ok(SUBJECT, f"{recipe.name}: {counted(len(recipe.variants), 'variant entry', 'variant entries')}")]
    try:
        requested = requested_imports(recipe, store_uri=store_uri, address=address)
        if imports := pending_imports(requested):
            models = "; ".join(line for request in imports for line in request.describe())
            return [*findings, warning(SUBJECT, f"models to import: {models}", f"mlprune run {path} {ALLOW_IMPORT}")]
        plan = build_plan(import_requested(recipe, requested, is_allowed=False), [local_node()])
    except BadInputError as err:
        return [*findings, missing(SUBJECT, str(err), str(err.context.get("next", f"correct {path}")))]
    text = f"models, data and plug-ins can be read: {counted(len(plan.jobs), 'job')}"
    return [*findings, ok(SUBJECT, text), *_resource_findings(plan, store_uri, address)]


def _resource_findings(plan: Plan, store_uri: str, address: str) -> Iterator[Finding]:
    """Judge memory, accelerators and disk for the pending jobs."""
    store = Store(store_uri)
    extended = extend_plan(plan, store)
    pending: list[Job] = pending_jobs(extended.jobs, store)
    if not pending:
        yield ok(SUBJECT, "nothing to do: all jobs are done")
        return
    needs = needs_of(extended, pending, adopted=adopted_evaluations(pending, store))
    yield ok(SUBJECT, f"{counted(len(pending), 'job')} to do on {needs.model.device} in {needs.model.dtype}")
    try:
        require_room(needs, store)
        yield ok(SUBJECT, f"disk: {needs.disk_gib:.2f} GiB for results")
    except BadInputError as err:
        yield missing(SUBJECT, str(err), f"mlprune gc --quota SIZE --store {store_uri}, or another --store")
    if address not in ("none", "local"):
        yield ok(SUBJECT, f"mlprune plan --address {address} compares its needs with the nodes of the cluster")
        return
    try:
        pool = in_process_pool(needs) if address == "none" else local_ray_pool(needs)
        yield ok(SUBJECT, f"memory: {format_pool(pool)} on {format_node(local_node())}")
    except BadInputError as err:
        yield missing(SUBJECT, str(err), "change the recipe as the message says, or --address of a larger machine")
