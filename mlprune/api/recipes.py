"""Plan and run a recipe from a script, as the commands do."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlprune.api.open_store import OpenStore, open_store
from mlprune.api.relation import table_html
from mlprune.errors import BadInputError, JobsFailedError, RecipeError

if TYPE_CHECKING:
    from ray_jobs.driver.changed_recipe import RecipeChanges, RecipeSource

GivenRecipe = str | Path | Mapping[str, object]
"""A recipe file, or the content of one."""


@dataclass(frozen=True)
class StepCount:
    """The jobs of one step."""

    step: str
    n_jobs: int
    n_to_do: int


@dataclass(frozen=True)
class RecipePlan:
    """What a recipe would run."""

    text: str
    """The description that `mlprune plan` prints: jobs, device, memory, disk space and time."""
    n_variants: int
    """Number of variants; 0 if a model has to be imported first."""
    steps: tuple[StepCount, ...]
    """Jobs of each step, in the order of the steps; empty if a model has to be imported first."""

    @property
    def n_to_do(self) -> int:
        """Number of jobs that are not done."""
        return sum(step.n_to_do for step in self.steps)

    def __str__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        rows = [(step.step, step.n_jobs, step.n_jobs - step.n_to_do, step.n_to_do) for step in self.steps]
        notes = [line for line in self.text.splitlines() if not line.startswith("  ")]
        return table_html(("step", "jobs", "done", "to do"), rows, n_rows=len(rows), notes=notes)


def describe(
    recipe: GivenRecipe,
    store: str,
    *,
    changes: "RecipeChanges",
    allow_import: bool,
    cluster: str | None,
    address: str,
) -> RecipePlan:
    """Plan a recipe; see `mlprune.api.plan`."""
    from mlprune.planning.resources.described_cluster import parse_cluster  # noqa: PLC0415 - loads torch
    from ray_jobs.driver.describe_recipe import Place, describe_recipe  # noqa: PLC0415

    if cluster is not None and address != "local":
        expected = "cluster or address"
        raise BadInputError("a plan is either for described machines or for a running cluster", expected=expected)
    place = Place(address, () if cluster is None else parse_cluster(cluster))
    described = describe_recipe(
        source_of_recipe(recipe), store, changes=changes, allow_import=allow_import, place=place
    )
    steps = tuple(StepCount(step, n_jobs, n_to_do) for step, (n_jobs, n_to_do) in described.steps.items())
    return RecipePlan(described.text, described.n_variants, steps)


def source_of_recipe(recipe: GivenRecipe) -> "RecipeSource":
    """Return the path of a recipe, or its content with the types that YAML has.

    Raises:
        RecipeError: the content has a value that YAML cannot express.
    """
    if not isinstance(recipe, Mapping):
        return Path(recipe).expanduser()
    try:
        content: dict[str, object] = json.loads(json.dumps(dict(recipe), default=_path_text))
    except TypeError as err:
        raise RecipeError("the recipe has a value that YAML cannot express", reason=str(err)) from err
    return content


def recipe_changes(
    shrink: int | None, model: str | None, allow_plugins: Sequence[str | Path], *, allow_many: bool
) -> "RecipeChanges":
    """Return the changes of a recipe that arguments ask for.

    Raises:
        BadInputError: `shrink` is not positive.
    """
    from ray_jobs.driver.changed_recipe import RecipeChanges  # noqa: PLC0415 - loads torch

    if shrink is not None and shrink < 1:
        raise BadInputError("shrink is not a positive number", expected="at least 1", got=shrink)
    return RecipeChanges(shrink, model, tuple(Path(path) for path in allow_plugins), allow_many=allow_many)


def _path_text(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} {value!r}")


def run_and_open(
    recipe: GivenRecipe,
    store: str,
    *,
    address: str,
    changes: "RecipeChanges",
    allow_import: bool,
    scrub: bool,
    remake: bool,
    remake_only: Sequence[str],
) -> OpenStore:
    """Run a recipe and open its store; see `mlprune.api.run`."""
    from mlprune.planning.pending import requested_remake  # noqa: PLC0415 - loads torch
    from ray_jobs.driver.run_recipe import RunOptions, run_recipe  # noqa: PLC0415

    summary = run_recipe(
        source_of_recipe(recipe),
        store,
        address=address,
        changes=changes,
        options=RunOptions(
            allow_import=allow_import, scrubs=scrub, remake=requested_remake(is_of_all=remake, variants=remake_only)
        ),
    )
    if summary.exit_code != 0:
        message = "jobs of the run failed; the others are kept"
        context: dict[str, object] = {"done": summary.n_done, "failed": summary.n_failed, "skipped": summary.n_skipped}
        if summary.problem:
            context["reason"] = summary.problem
        raise JobsFailedError(message, context, store=store, next=f"mlprune query failures --store {store}")
    return open_store(store)
