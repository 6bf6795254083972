"""Run a recipe from a script, with the code of the command."""

from collections.abc import Sequence
from pathlib import Path

from mlprune.api.open_store import OpenStore, open_store
from mlprune.api.recipe_plan import GivenRecipe, recipe_changes, source_of_recipe
from mlprune.errors import JobsFailedError


def run_and_open(
    recipe: GivenRecipe,
    store: str,
    *,
    address: str,
    shrink: int | None,
    model: str | None,
    allow_import: bool,
    allow_plugins: Sequence[str | Path],
    allow_many: bool,
    scrub: bool,
    remake: bool,
    remake_only: Sequence[str],
) -> OpenStore:
    """Run a recipe and open its store; see `mlprune.api.run`."""
    from mlprune.plan.retired_files.remake import requested_remake  # noqa: PLC0415 - loads torch
    from ray_jobs.driver.run_recipe import run_recipe  # noqa: PLC0415

    summary = run_recipe(
        source_of_recipe(recipe),
        store,
        address=address,
        changes=recipe_changes(shrink, model, allow_plugins, allow_many=allow_many),
        allow_import=allow_import,
        scrubs=scrub,
        remake=requested_remake(is_of_all=remake, variants=remake_only),
    )
    if summary.exit_code != 0:
        message = "jobs of the run failed; the others are kept"
        context: dict[str, object] = {"done": summary.n_done, "failed": summary.n_failed, "skipped": summary.n_skipped}
        if summary.problem:
            context["reason"] = summary.problem
        raise JobsFailedError(message, context, store=store, next=f"mlprune query failures --store {store}")
    return open_store(store)
