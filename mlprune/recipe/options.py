"""Recipe keys for the parameters of methods: made from the registries, and read back as typed parameters."""

from collections.abc import Iterator, Mapping
from dataclasses import Field as DataclassField
from dataclasses import fields
from typing import Annotated, Any, TypeVar, get_type_hints

from pydantic import Field, create_model

from mlprune.methods import Method, Parameters
from mlprune.recipe.base import Model, Seed

AnyModel = TypeVar("AnyModel", bound=Model)


def with_options(name: str, base: type[AnyModel], **registries: Mapping[str, Method]) -> type[AnyModel]:
    """Return the model of an entry with a key for every parameter of the registered methods.

    Args:
        name: of the new model.
        base: keys that it has itself are left alone.
        registries: kind of method -> registry.
    """
    options: dict[str, Any] = {
        key: _option(owners)
        for registry in registries.values()
        for key, owners in _owners(registry).items()
        if key not in base.model_fields
    }
    return create_model(name, __base__=base, __module__=base.__module__, __doc__=base.__doc__, **options)


def chosen_parameters(config: Model, method: Method) -> Parameters:
    """Return the parameters of a method from the keys of an entry; absent keys have the method's defaults."""
    names = {one.name for one in fields(method.parameters)} & config.model_fields_set
    return method.parameters(**{name: value for name in names if (value := getattr(config, name)) is not None})


def check_owners(config: Model, kind: str, registry: Mapping[str, Method], chosen: str | None) -> None:
    """Refuse parameters that belong to another method than the chosen one.

    Raises:
        ValueError: there is one; the message is one line.
    """
    for name, owners in _owners(registry).items():
        is_given = name in config.model_fields_set and getattr(config, name) is not None
        if is_given and chosen not in owners and not all(_is_ignored(one) for one in owners.values()):
            raise ValueError(f"{name} belongs to {kind} {' or '.join(owners)}, got {kind} {chosen}")


def _owners(registry: Mapping[str, Method]) -> dict[str, dict[str, tuple[Method, DataclassField[Any]]]]:
    """Parameter -> name of a method -> the method and the parameter's field."""
    owners: dict[str, dict[str, tuple[Method, DataclassField[Any]]]] = {}
    for name, method in registry.items():
        for one in fields(method.parameters):
            owners.setdefault(one.name, {})[name] = (method, one)
    return owners


def _is_ignored(owner: tuple[Method, DataclassField[Any]]) -> bool:
    return bool(owner[1].metadata.get("ignored_by_others"))


def _option(owners: Mapping[str, tuple[Method, DataclassField[Any]]]) -> tuple[Any, Any]:
    """Type and default of a recipe key, with one sentence per method that has the parameter."""
    hints = [_hint(method, one) for method, one in owners.values()]
    union: Any = None
    for hint in dict.fromkeys(hints):
        union = hint if union is None else union | hint
    defaults = {one.default for _, one in owners.values()}
    default = defaults.pop() if len(defaults) == 1 else None
    return union | None, Field(default=default, description=" ".join(_sentences(owners)))


def _hint(method: Method, one: DataclassField[Any]) -> Any:
    kind = Seed if one.name == "seed" else get_type_hints(method.parameters)[one.name]
    bounds = {name: bound for name, bound in one.metadata["bounds"].items() if bound is not None}
    return Annotated[kind, Field(**bounds)] if bounds else kind


def _sentences(owners: Mapping[str, tuple[Method, DataclassField[Any]]]) -> Iterator[str]:
    for name, (_, one) in owners.items():
        ignored = "; others ignore it" if one.metadata["ignored_by_others"] else ""
        yield f"{name}: {one.metadata['meaning']} ({one.default}){ignored}."
