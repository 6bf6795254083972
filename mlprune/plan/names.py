"""The names that a recipe gives to models, sets, variants and data sets, and its questions, as a record."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from mlprune.evaluation.tasks.hub_datasets import HubSource
from mlprune.json_values import JsonValue
from mlprune.recipe import Recipe
from mlprune.steps.demonstrate.plan import PlannedSet
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import make_identity
from mlprune.steps.loss_records import LossRecord
from mlprune.steps.prune.plan import PlannedVariant
from mlprune.steps.questions.declarations import DeclaredAfter, declaration_parameters, question_rows
from mlprune.steps.questions.plan import PlannedQuestion
from mlprune.store.records import Record


class Name(NamedTuple):
    """A name of a recipe."""

    kind: str
    name: str
    id: str
    """Id, or the commit of a data set."""


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


def names_of(inputs: Inputs, sets: Iterable[PlannedSet], variants: Iterable[PlannedVariant]) -> Iterator[Name]:
    """The names of the base model, of the demonstration sets and of the variants."""
    yield Name("base_model", str(inputs.base_row["source"]), inputs.base.id)
    for planned in sets:
        yield Name("demonstration_set", planned.name, planned.id)
    for variant in variants:
        if variant.is_dense:
            yield Name("variant", "dense", variant.id)
        for entry in variant.entries:
            if entry.name:
                yield Name("variant", entry.name, variant.id)


def sensitivity_names(losses: Iterable[LossRecord]) -> Iterator[Name]:
    """The names of the sensitivity analyses."""
    for record in losses:
        yield Name("sensitivity", record.entry, record.id)


def data_set_names(sources: Iterable[HubSource | None]) -> Iterator[Name]:
    """The names and commits of the hub data sets that a recipe reads."""
    for source in sources:
        for name, commit in source.repositories if source is not None else ():
            yield Name("data_set", name, commit)
