"""The Python interface: open a store, plan a recipe, run one. `docs/python.md` says what is public.

This is the only package of `mlprune` that may import `catalog` and `ray_jobs`, inside functions: importing it loads
neither of them, nor torch.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from mlprune.api.open_store import OpenStore, Variant, open_store
from mlprune.api.recipes import RecipePlan, StepCount, describe, recipe_changes, run_and_open
from mlprune.api.relation import Relation

__all__ = ["OpenStore", "RecipePlan", "Relation", "StepCount", "Variant", "open", "plan", "run"]


def open(store: str | Path) -> OpenStore:  # noqa: A001 - the public name is mlprune.open
    """Open a store for reading. Runs can write to it meanwhile; `refresh` reads what they have added.

    Args:
        store: a folder, or the URI of an object store.
    Raises:
        StoreError: the store has no records, or cannot be read.
    """
    return open_store(store)


def plan(
    recipe: str | Path | Mapping[str, object],
    *,
    store: str | Path,
    shrink: int | None = None,
    model: str | None = None,
    allow_import: bool = False,
    allow_plugins: Sequence[str | Path] = (),
    allow_many: bool = False,
    cluster: str | None = None,
    address: str = "local",
) -> RecipePlan:
    """Describe what a recipe would run, what is done, and the memory, disk space and time it needs.

    Nothing is run, and nothing is written except imported models, like by the command `mlprune plan`.

    Args:
        recipe: a file, or the content of one; then relative paths start at the current folder.
        store: the store that the recipe would write to; it need not exist.
        shrink: at most this many demonstrations of a set, shots, items of an evaluation and variants of a search.
        model: another base model: a folder, a hub id, or `demo`.
        allow_import: import the models that the recipe marks with `import: true`.
        allow_plugins: files of plug-ins that the recipe names, whose code may run.
        allow_many: accept a recipe whose lists multiply out to more than 20,000 variants, demonstration sets or
            evaluations.
        cluster: machines to plan for, such as `8x(16 CPU, 100 GiB, 1 A100-80GB)`.
        address: `local` for this machine; `auto` or `ray://...` for the nodes of a cluster.
    Raises:
        BadInputError: the recipe cannot be run, or does not fit on the machines.
    """
    return describe(
        recipe,
        str(store),
        changes=recipe_changes(shrink, model, allow_plugins, allow_many=allow_many),
        allow_import=allow_import,
        cluster=cluster,
        address=address,
    )


def run(
    recipe: str | Path | Mapping[str, object],
    *,
    store: str | Path,
    address: str = "local",
    shrink: int | None = None,
    model: str | None = None,
    allow_import: bool = False,
    allow_plugins: Sequence[str | Path] = (),
    allow_many: bool = False,
    scrub: bool = False,
    remake: bool = False,
    remake_only: Sequence[str] = (),
) -> OpenStore:
    """Run a recipe like the command `mlprune run`, and open its store. Finished jobs are skipped.

    An interruption (Ctrl-C) stops the run and raises KeyboardInterrupt; call the function again to resume.

    Args:
        recipe: a file, or the content of one; then relative paths start at the current folder.
        store: where the results go: a folder, or the URI of an object store.
        address: `local` starts Ray on this machine; `auto` or `ray://...` joins a cluster; `none` runs in this process
            without Ray.
        shrink, model, allow_import, allow_plugins, allow_many: as for `plan`.
        scrub: first read every artefact of the recipe's results, and make the damaged ones again.
        remake: make the retired files of this recipe again, see `mlprune store gc`.
        remake_only: like `remake`, only for these variants (ids or names) and for what unfinished jobs need.
    Raises:
        BadInputError: the recipe or something it names cannot be used, or does not fit.
        StoreError: the run needs retired files that it is not asked to make again.
        JobsFailedError: some jobs failed; the others are kept.
    """
    return run_and_open(
        recipe,
        str(store),
        address=address,
        changes=recipe_changes(shrink, model, allow_plugins, allow_many=allow_many),
        allow_import=allow_import,
        scrub=scrub,
        remake=remake,
        remake_only=remake_only,
    )
