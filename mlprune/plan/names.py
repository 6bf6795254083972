"""The names that a recipe gives to models, sets, variants and data sets, as a record."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from mlprune.evaluation.tasks.hub_datasets import HubSource
from mlprune.recipe import Recipe
from mlprune.steps.demonstrate.plan import PlannedSet
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import make_identity
from mlprune.steps.prune.plan import PlannedVariant
from mlprune.store.records import Record


class Name(NamedTuple):
    """A name of a recipe."""

    kind: str
    name: str
    id: str
    """Id, or the commit of a data set."""


def names_record(recipe: Recipe, names: Iterable[Name]) -> Record:
    """The record of a recipe's names."""
    distinct = sorted(set(names))
    identity = make_identity("recipes", {"name": recipe.name, "names": [list(name) for name in distinct]})
    all_names = [Name("recipe", recipe.name, identity.id), *distinct]
    return identity.record(rows={"names": [{"recipe": recipe.name, **name._asdict()} for name in all_names]})


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


def data_set_names(sources: Iterable[HubSource | None]) -> Iterator[Name]:
    """The names and commits of the hub data sets that a recipe reads."""
    for source in sources:
        for name, commit in source.repositories if source is not None else ():
            yield Name("data_set", name, commit)
