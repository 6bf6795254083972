"""What a capability adds to the core: the whole contract.

A capability is a folder of `mlprune.capabilities` and, where it has SQL or figures, of `catalog.capabilities`. Its
commands are a module or a folder of `ray_jobs.capabilities` and lines of `ray_jobs.cli.command_table`. The folder may
have:

- `keys.py`: the keys of its part of a recipe. `mlprune.recipe` composes its classes of them, in `models.py`,
  `variant_fields.py` and `evaluations.py`, and marks each with `OfCapability`.
- `records.py`: its kinds of records, and what makes variants of its structures. `mlprune.store.record_kinds` puts them
  into the order of all kinds.
- `capability.py`: `CAPABILITY`, the functions below. They return what they are given if a recipe has none of its keys.
- any further modules. They import the core, and no other capability.

The core imports nothing of it but keys and kinds. If a folder is not in `mlprune.capabilities.NAMES`, recipes with its
keys and its commands are refused, and everything else works, also on stores that have its records.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Protocol

from mlprune import capabilities
from mlprune.errors import RecipeError
from mlprune.models.import_record import HubCheckpoint
from mlprune.recipe.demonstrations import DemonstrationConfig
from mlprune.recipe.models import Recipe
from mlprune.recipe.names import missing_capabilities
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import Job
from mlprune.steps.part import Part
from mlprune.steps.probes import Probes
from mlprune.steps.sets import DemonstrationPlan, PlannedSet, SetSpec
from mlprune.steps.tasks.evaluation import EvaluationSpec
from mlprune.steps.variants.planned_variant import PlannedVariant
from mlprune.store.store import Store
from mlprune.vocabulary import DemonstrationKind

Variants = Mapping[str, PlannedVariant]
"""Id -> planned variant."""
CheckJobs = Callable[[Iterable[Job], Store], None]
"""Raises a `BadInputError` if a pending job cannot run on what the store has."""


class Planned(Protocol):
    """What is planned of a recipe so far."""

    given: Recipe
    """The whole recipe."""
    recipe: Recipe
    """Without the entries that parts add later."""
    inputs: Inputs
    sets: DemonstrationPlan
    """Empty until all sets are planned."""
    variants: Variants
    """Empty until all variants are planned."""
    evaluations: Mapping[str, tuple[EvaluationSpec, ...]]
    """Variant id -> its evaluations; empty until all are planned."""


PlanSet = Callable[[Planned, DemonstrationConfig, SetSpec], PlannedSet]
"""Plans a demonstration set of an entry. The description has the keys that all kinds have."""
AddVariants = Callable[[Planned, Variants], Variants]
"""Returns some planned variants and those that it adds."""
AddJobs = Callable[[Planned], Iterable[Job]]
"""Returns jobs, each after those that it needs."""
PlanPart = Callable[[Planned], Part | None]
"""Returns what adds jobs when results are there; None if a recipe has nothing of it."""
PlanProbes = Callable[[Planned], Probes]
"""Returns variants that are measured before those of the recipe."""
FindSource = Callable[[str, str], HubCheckpoint]
"""Chooses the files of a model on a hub that an import reads. Arguments: id on the hub, and revision."""


def _no_probes(planned: Planned) -> Probes:
    return Probes()


def _same(planned: Planned, variants: Variants) -> Variants:
    return variants


def _none(planned: Planned) -> Iterable[Job]:
    return ()


def _accept(jobs: Iterable[Job], store: Store) -> None:
    pass


@dataclass(frozen=True)
class Capability:
    """One capability; each function is called at its stage of every plan."""

    name: str
    """Its folder."""
    without_late: Callable[[Recipe], Recipe] = lambda recipe: recipe
    """Returns a recipe without the entries that its part adds to the plan later."""
    sets: Mapping[DemonstrationKind, PlanSet] = field(default_factory=dict)
    """Kind of demonstration set whose texts it makes -> function that plans a set."""
    probe: PlanProbes = _no_probes
    """Plans variants whose losses the schedules of the recipe's variants may read, before these are planned."""
    variants: AddVariants = _same
    """Adds variants, before variants are combined."""
    derived: AddVariants = _same
    """Adds variants that are derived from others, after variants are combined."""
    observe: AddJobs = _none
    """Jobs that run the dense model over demonstration sets."""
    masks: AddJobs = _none
    """Jobs that make masks of its variants, before those of combinations."""
    make: AddJobs = _none
    """Jobs that make its variants."""
    compare: AddJobs = _none
    """Jobs that analyse variants, after evaluations."""
    part: PlanPart = lambda planned: None
    """Plans what adds jobs when results are there, after everything else."""
    check: CheckJobs = _accept
    """Checks pending jobs against results in the store, when a plan is described."""
    query: Callable[[Recipe], str] = lambda recipe: ""
    """Names the query to try first after a run of a recipe; empty to leave it to other capabilities."""
    find_source: FindSource | None = None
    """Chooses what the command `import` downloads for a model that a recipe asks to import; one capability has it."""


def require_capabilities(recipe: Recipe) -> None:
    """Refuse a recipe with keys of a capability that is not in `NAMES`.

    Raises:
        RecipeError: it has one; the first is named.
    """
    for key, name in missing_capabilities(recipe, capabilities.NAMES):
        expected = f"an installation with the capability {name}, or a recipe without this key"
        raise RecipeError("a key belongs to a capability that is not there", key=key, expected=expected, got=name)


def all_capabilities() -> list[Capability]:
    """Return the capabilities of `mlprune.capabilities.NAMES`, in their order."""
    return [import_module(f"{capabilities.__name__}.{name}.capability").CAPABILITY for name in capabilities.NAMES]
