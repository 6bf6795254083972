"""Describe what a recipe would run, without running it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mlprune.capabilities.capability import all_capabilities
from mlprune.counted import counted
from mlprune.planning import build_plan, extend_plan
from mlprune.planning.resources.node_capacity import Node
from mlprune.planning.text.needs_lines import PlannedMachines
from mlprune.planning.text.plan_text import plan_lines, planned_work
from mlprune.recipe.models import Recipe
from mlprune.store.store import Store
from ray_jobs.driver import model_imports
from ray_jobs.driver.capacity_checks import local_ray_node, require_room
from ray_jobs.driver.changed_recipe import NO_CHANGES, RecipeChanges, RecipeSource, load_changed_recipe
from ray_jobs.driver.workplace import LOCAL_ADDRESSES, machines
from ray_jobs.workers.node_resources import local_node, n_cpus


@dataclass(frozen=True)
class Place:
    """Where a recipe would run."""

    address: str = "local"
    """`local` for this machine, or the address of a cluster."""
    described: Sequence[Node] = ()
    """Described machines; empty for those at the address."""


HERE = Place()


@dataclass(frozen=True)
class DescribedPlan:
    """What a recipe would run."""

    text: str
    """Jobs, device, and what the jobs need, as lines."""
    n_variants: int = 0
    """0 if models have to be imported first."""
    steps: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Step -> number of its jobs, and of those that are not done; empty if models have to be imported first."""


def describe_recipe(
    source: RecipeSource,
    store_uri: str,
    *,
    changes: RecipeChanges = NO_CHANGES,
    allow_import: bool = False,
    place: Place = HERE,
    has_power: bool = False,
) -> DescribedPlan:
    """Describe what a recipe would run and what it needs. Writes nothing but imported models.

    Args:
        source: the recipe file, or its content.
        allow_import: import the models that the recipe asks to import; otherwise those imports are described.
        has_power: all about the power of each question.
    Raises:
        BadInputError: the recipe cannot be run, or does not fit on the machines, or the cluster cannot be reached.
    """
    store = Store(store_uri)
    store.require_current_version()
    recipe = load_changed_recipe(source, changes)
    requested = model_imports.requested_imports(recipe, store_uri=store_uri, address="local")
    if not allow_import and (missing := model_imports.pending_imports(requested)):
        return DescribedPlan("\n".join(_import_lines(recipe, missing)))
    recipe = model_imports.import_requested(recipe, requested, is_allowed=allow_import)
    available = _machines(recipe, place)
    plan = extend_plan(build_plan(recipe, [local_node()] if available.is_here else available.nodes), store)
    work = planned_work(plan, store)
    require_room(work.needs, store)
    for capability in all_capabilities():
        capability.check(work.pending, store)
    lines = plan_lines(work, available, has_power=has_power)
    return DescribedPlan("\n".join(lines), len(plan.variants), work.steps)


def _machines(recipe: Recipe, place: Place) -> PlannedMachines:
    """Return the described machines, those of the cluster, or this machine as the node of a local Ray."""
    if place.described:
        return PlannedMachines(place.described, n_cpus())
    if place.address in LOCAL_ADDRESSES:
        return PlannedMachines([local_ray_node(recipe.compute)], n_cpus(), is_here=True)
    with machines(place.address, recipe.compute.node_labels) as available:
        return PlannedMachines(available.nodes, n_cpus(), processors=available.processors())


def _import_lines(recipe: Recipe, pending: Sequence[model_imports.RequestedImport]) -> list[str]:
    """Describe imports without which the recipe cannot be planned: ids follow from the files of its models."""
    entries = (
        counted(len(recipe.variants), "variant entry", "variant entries"),
        f"{len(recipe.evaluations)} evaluations",
    )
    return [
        f"recipe {recipe.name}: {', '.join(entries)}; its jobs are planned after the import of its models",
        *(f"  {line}" for request in pending for line in request.describe()),
        f"next: the same command with {model_imports.ALLOW_IMPORT}, or mlprune run with {model_imports.ALLOW_IMPORT}",
    ]
