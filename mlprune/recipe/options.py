"""Recipe keys of the parameters of methods, generated from the registries."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, TypeVar, Union, get_type_hints

from pydantic import Field, create_model

from mlprune.methods import Method, Parameters
from mlprune.recipe.base import Model, Seed

AnyModel = TypeVar("AnyModel", bound=Model)


def with_options(name: str, base: type[AnyModel], **registries: Mapping[str, Method]) -> type[AnyModel]:
    """Return a model of an entry with an additional key for every parameter of the registered methods.

    Args:
        name: of the new model.
        base: model of the entry. Keys that it already has are not added.
        registries: kind of method -> registry.
    Raises:
        TypeError: two registries have a parameter of one name, so that its key would belong to both.
    """
    names = [key for registry in registries.values() for key in _owners(registry)]
    if len(set(names)) < len(names):
        shared = sorted({key for key in names if names.count(key) > 1})
        raise TypeError(f"parameters of several registries have one name: {shared}")
    options: dict[str, Any] = {
        key: _option(owners)
        for registry in registries.values()
        for key, owners in _owners(registry).items()
        if key not in base.model_fields
    }
    return create_model(name, __base__=base, __module__=base.__module__, __doc__=base.__doc__, **options)


def chosen_parameters(config: Model, method: Method) -> Parameters:
    """Return the parameters of a method from the keys of an entry; absent keys have the method's defaults."""
    names = {parameter.name for parameter in fields(method.parameters)} & config.model_fields_set
    return method.parameters(**{name: value for name in names if (value := getattr(config, name)) is not None})


def check_owners(config: Model, kind: str, registry: Mapping[str, Method], chosen: str | None) -> None:
    """Check that the entry has no parameters of other methods than the chosen one.

    Raises:
        ValueError: it has one.
    """
    for name, owners in _owners(registry).items():
        is_given = name in config.model_fields_set and getattr(config, name) is not None
        if (
            is_given
            and chosen not in owners
            and not all(owner.details.get("ignored_by_others") for owner in owners.values())
        ):
            raise ValueError(f"{name} belongs to {kind} {' or '.join(owners)}, got {kind} {chosen}")


@dataclass(frozen=True)
class _Owner:
    """A method that has a parameter."""

    method: Method
    name: str
    """Of the parameter."""
    default: object
    details: Mapping[str, Any]
    """Metadata of the parameter's field; see `parameter`."""

    @property
    def hint(self) -> object:
        """Type of the parameter with its bounds.

        Raises:
            TypeError: its field was not declared with `parameter`.
        """
        if "bounds" not in self.details:
            owner = self.method.parameters.__name__
            raise TypeError(f"the field {self.name} of {owner} is not a parameter: declare it with parameter()")
        kind: object = Seed if self.name == "seed" else get_type_hints(self.method.parameters)[self.name]
        bounds = {name: bound for name, bound in self.details["bounds"].items() if bound is not None}
        return Annotated[kind, Field(**bounds)] if bounds else kind


def _owners(registry: Mapping[str, Method]) -> dict[str, dict[str, _Owner]]:
    """Return parameter -> name of each method that has it -> that method."""
    owners: dict[str, dict[str, _Owner]] = {}
    for name, method in registry.items():
        for field in fields(method.parameters):
            owners.setdefault(field.name, {})[name] = _Owner(method, field.name, field.default, field.metadata)
    return owners


def _option(owners: Mapping[str, _Owner]) -> tuple[object, object]:
    """Return the type and the default of a recipe key, with one sentence per method that has the parameter."""
    kinds = tuple(dict.fromkeys(owner.hint for owner in owners.values()))
    defaults = {owner.default for owner in owners.values()}
    default = defaults.pop() if len(defaults) == 1 else None
    return Union[(*kinds, None)], Field(default=default, description=" ".join(_sentences(owners)))


def _sentences(owners: Mapping[str, _Owner]) -> Iterator[str]:
    for name, owner in owners.items():
        ignored = "; others ignore it" if owner.details["ignored_by_others"] else ""
        yield f"{name}: {owner.details['meaning']} ({owner.default}){ignored}."
