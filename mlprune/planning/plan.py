"""The plan of a recipe: the jobs of all stages in order, its names, and what is added when results are there."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from mlprune.capabilities.capability import all_capabilities, require_capabilities
from mlprune.json_values import JsonValue
from mlprune.planning.resources.node_capacity import Node, accelerators_of
from mlprune.planning.stages import STAGES, Name, Planning
from mlprune.recipe.models import Recipe
from mlprune.steps.evaluate.model_evaluation import without_evaluations
from mlprune.steps.inputs import local_accelerators, open_inputs, with_devices
from mlprune.steps.job import Job, ModelRef, RecordKey, make_identity
from mlprune.steps.part import Part, Report
from mlprune.steps.probes import Probes
from mlprune.steps.prune.composed import distinct_jobs
from mlprune.steps.questions.asked import PlannedQuestion
from mlprune.steps.questions.declarations import DeclaredAfter, declaration_parameters, question_rows
from mlprune.steps.variants.planned_variant import PlannedVariant
from mlprune.steps.variants.variant_rows import has_variant
from mlprune.store.records import Record
from mlprune.store.store import Store


def recipe_record(
    recipe: Recipe,
    names: Iterable[Name],
    questions: Sequence[PlannedQuestion],
    declared: Mapping[str, DeclaredAfter],
) -> Record:
    """Return the record of a recipe's names and questions.

    Args:
        declared: see `question_rows`.
    """
    distinct = sorted(set(names))
    parameters: dict[str, JsonValue] = {"name": recipe.name, "names": [list(name) for name in distinct]}
    if questions:
        parameters["questions"] = list(declaration_parameters(questions, declared))
    identity = make_identity("recipes", parameters)
    all_names = [Name("recipe", recipe.name, identity.id), *distinct]
    name_rows = [{"recipe": recipe.name, **name._asdict()} for name in all_names]
    return identity.record(rows={"names": name_rows, **question_rows(recipe.name, questions, declared)})


@dataclass(frozen=True)
class Plan:
    """All jobs of a recipe, with their ids."""

    recipe: Recipe
    """As it was given: `auto` is not replaced."""
    model: ModelRef
    jobs: tuple[Job, ...]
    """Every job comes after those that it needs."""
    variants: Mapping[str, PlannedVariant]
    names: tuple[Name, ...]
    questions: tuple[PlannedQuestion, ...] = ()
    """The declared questions, then the default ones."""
    probes: tuple[Probes, ...] = ()
    """Of each capability."""
    parts: tuple[Part, ...] = ()
    """As far as they are planned; see `extend_plan`."""
    made: frozenset[RecordKey] = frozenset()
    """All records that the jobs make."""

    @property
    def record(self) -> Record:
        """The names and questions of the recipe, as a run that starts without any results writes them."""
        return self.record_with({})

    def record_with(self, declared: Mapping[str, DeclaredAfter]) -> Record:
        """Return the record that a run writes when it starts: questions know which results existed.

        Args:
            declared: of `declarations` in the store of the run.
        """
        return recipe_record(self.recipe, self.names, self.questions, declared)

    def report_record(self, report: Report, declared: Mapping[str, DeclaredAfter]) -> Record:
        """Return the record of the names and questions of a report of a part.

        Args:
            declared: of `declarations` in the store of the run, before the jobs of the report.
        """
        names = [Name("variant", *named) for named in report.names]
        return recipe_record(self.recipe, names, report.questions, declared)

    @property
    def reports(self) -> tuple[Report, ...]:
        """The reports of all parts."""
        return tuple(report for part in self.parts for report in part.reports)

    @property
    def models(self) -> tuple[ModelRef, ...]:
        """The recipe's model, then those of its baselines."""
        return tuple(dict.fromkeys((self.model, *(variant.spec.model for variant in self.variants.values()))))


def build_plan(given: Recipe, nodes: Sequence[Node] | None = None) -> Plan:
    """Open the inputs of a recipe and plan all stages; nothing is written.

    Args:
        nodes: machines of the run, which determine an automatic device and dtype; by default this machine.
    Raises:
        BadInputError: something in the recipe cannot be used; the message is one line.
    """
    require_capabilities(given)
    recipe = with_devices(given, local_accelerators() if nodes is None else accelerators_of(nodes))
    for capability in all_capabilities():
        recipe = capability.without_late(recipe)
    planning = Planning(given, recipe, open_inputs(recipe))
    for stage in STAGES:
        planning.jobs += stage(planning)
    jobs = tuple(distinct_jobs(planning.jobs))
    return Plan(
        given,
        planning.inputs.model,
        jobs,
        planning.variants,
        tuple(planning.names),
        planning.questions,
        planning.probes,
        planning.parts,
        made=frozenset(key for job in jobs for key in job.makes),
    )


def extend_plan(plan: Plan, store: Store) -> Plan:
    """Return a plan with all jobs of its parts that the results in the store allow; nothing is written.

    The same results give the same jobs, except that variants in the store are not made again. Jobs that the plan has
    already are not added.

    Raises:
        RecipeError: a part cannot go on with these results.
    """
    if not plan.parts:
        return plan
    added = _Additions(store, made=plan.made)
    parts = tuple(part.extended(added) for part in plan.parts)
    return replace(plan, jobs=(*plan.jobs, *added.jobs), parts=parts, made=frozenset(added.made))


class _Additions:
    """The jobs that are added to a plan.

    Args:
        made: records that the plan makes already.
    """

    def __init__(self, store: Store, *, made: Iterable[RecordKey]) -> None:
        self.store = store
        self.jobs: list[Job] = []
        self.made = set(made)
        """Records that the plan or these jobs make."""

    def is_known(self, variant_id: str) -> bool:
        """Whether a variant is planned or in the store."""
        return ("variants", variant_id) in self.made or has_variant(self.store, variant_id)

    def add(self, jobs: Iterable[Job]) -> None:
        """Add jobs without the evaluations that another job makes, unless all their records are made already."""
        for job in jobs:
            made = {key[1] for key in job.makes if key in self.made}
            rest = without_evaluations(job, made)
            if not self.made.issuperset(rest.makes):
                self.jobs.append(rest)
                self.made.update(rest.makes)
