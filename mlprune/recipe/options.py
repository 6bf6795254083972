"""Recipe keys of the parameters of methods, and names and parameters of plug-ins."""

import operator
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Annotated, Any, Generic, TypeVar, Union, get_type_hints

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, ValidationInfo, create_model
from pydantic_core import PydanticCustomError

from mlprune.errors import PluginError, RecipeError, repeated, unknown
from mlprune.methods import Method, Parameters, Refiner, Score, Structure
from mlprune.methods.plugins import (
    REFINER_METHODS,
    SCORE_METHODS,
    STRUCTURE_METHODS,
    MethodLookup,
    PluginParameters,
    PluginSource,
)
from mlprune.methods.plugins.lookup import AnyMethod as LookupAnyMethod
from mlprune.recipe.base import Seed
from mlprune.strict_model import Model, as_pairs, unknown_name, with_context

AnyModel = TypeVar("AnyModel", bound=Model)
_COMPARE = {"gt": operator.gt, "ge": operator.ge, "lt": operator.lt}
_SIGNS = {"gt": "above", "ge": "at least", "lt": "below"}
N_M = "N:M"
_PATTERN = re.compile(r"[1-9][0-9]*:[1-9][0-9]*")
AnyMethod = TypeVar("AnyMethod", bound=Method)


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
    if shared := sorted(repeated(names)):
        raise TypeError(f"parameters of several registries have one name: {shared}")
    options: dict[str, Any] = {
        key: _option(kind, owners)
        for kind, registry in registries.items()
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
    refused = {
        name: tuple(owners)
        for name, owners in _owners(registry).items()
        if not all(owner.details.get("ignored_by_others") for owner in owners.values())
    }
    refuse_keys_of_others(config, kind, refused, chosen)


def refuse_keys_of_others(config: Model, kind: str, owners: Mapping[str, Collection[str]], chosen: str | None) -> None:
    """Check that an entry has no keys of other kinds than the chosen one, which would be ignored.

    Args:
        kind: the key whose value is chosen, or a word for it.
        owners: key -> the kinds that have it. Other keys are allowed.
    Raises:
        ValueError: it has one.
    """
    for name, kinds in owners.items():
        if name in config.model_fields_set and getattr(config, name) is not None and chosen not in kinds:
            got = f"{kind} {chosen}" if chosen else f"an entry without {kind}"
            raise ValueError(f"{name} does not apply to {got}, only to {' or '.join(kinds)}")


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
        kind = self.bare_hint
        bounds = {name: bound for name, bound in self.details["bounds"].items() if bound is not None}
        return Annotated[kind, Field(**bounds)] if bounds else kind

    @property
    def bare_hint(self) -> object:
        """Type of the parameter without its bounds."""
        hint: object = Seed if self.name == "seed" else get_type_hints(self.method.parameters)[self.name]
        return hint


def _owners(registry: Mapping[str, Method]) -> dict[str, dict[str, _Owner]]:
    """Return parameter -> name of each method that has it -> that method."""
    owners: dict[str, dict[str, _Owner]] = {}
    for name, method in registry.items():
        for field in fields(method.parameters):
            owners.setdefault(field.name, {})[name] = _Owner(method, field.name, field.default, field.metadata)
    return owners


def _option(kind: str, owners: Mapping[str, _Owner]) -> tuple[object, object]:
    """Return the type and the default of a recipe key, with one sentence per method that has the parameter."""
    hints = tuple(dict.fromkeys(owner.hint for owner in owners.values()))
    bare = {owner.bare_hint for owner in owners.values()}
    if len(hints) > 1 and len(bare) == 1:
        hints = (Annotated[bare.pop(), AfterValidator(partial(_in_bounds, kind=kind, owners=owners))],)
    defaults = {owner.default for owner in owners.values()}
    default = defaults.pop() if len(defaults) == 1 else None
    return Union[(*hints, None)], Field(default=default, description=" ".join(_sentences(owners)))


def _in_bounds(value: float, info: ValidationInfo, *, kind: str, owners: Mapping[str, _Owner]) -> float:
    """Check a key that methods share against the bounds of the chosen one; its name is in `kind` or the method's key.

    Raises:
        PydanticCustomError: the value is out of bounds.
    """
    chosen = str(info.data.get(kind, info.data.get("kind")))
    for sign, bound in owners[chosen].details["bounds"].items() if chosen in owners else ():
        if bound is not None and not _COMPARE[sign](value, bound):
            expected = f"{_SIGNS[sign]} {bound} for {kind} {chosen}"
            raise with_context(RecipeError("a parameter is out of range", expected=expected, got=value))
    return value


def _sentences(owners: Mapping[str, _Owner]) -> Iterator[str]:
    for name, owner in owners.items():
        ignored = "; others ignore it" if owner.details["ignored_by_others"] else ""
        yield f"{name}: {owner.details['meaning']} ({owner.default}){ignored}."


@dataclass(frozen=True)
class MethodName(Generic[AnyMethod]):
    """Validator of the names of one kind of method."""

    lookup: MethodLookup[AnyMethod]

    @property
    def title(self) -> str:
        """The names for the recipe reference."""
        return ", ".join([*(f"`{name}`" for name in self.lookup.built_in), "or a plug-in"])

    def __call__(self, name: str) -> str:
        """Return the name; a plug-in is loaded.

        Raises:
            PydanticCustomError: no method has this name, or the plug-in cannot be used.
        """
        try:
            if name not in self.lookup.built_in and name not in (*self.lookup.removed, *self.lookup.names):
                raise unknown_name(self.lookup.kind, name, self.lookup.names)
            self.lookup.find(name)
        except PluginError as err:
            raise with_context(RecipeError(err.message, err.context)) from err
        return name


@dataclass(frozen=True)
class StructureNames(MethodName[Structure]):
    """Validator of the names of structures, which may be a pattern N:M."""

    @property
    def title(self) -> str:
        """The names for the recipe reference."""
        named = [f"`{name}`" for name in self.lookup.built_in if name != N_M]
        return f"{', '.join(named)}, N:M as in `2:4`, or a plug-in"

    def __call__(self, name: str) -> str:
        """Return the name; a plug-in is loaded.

        Raises:
            PydanticCustomError: no structure has this name, or the plug-in cannot be used.
        """
        if _PATTERN.fullmatch(name):
            return name
        if name == N_M:
            raise unknown_name(self.lookup.kind, name, [*self.lookup.names, "2:4"])
        return super().__call__(name)


def source_of_structure(name: str) -> PluginSource | None:
    """Return where a structure of a checked name comes from; None if it is built in."""
    return None if ":" in name else STRUCTURE_METHODS.find(name)[1]


def score_named(name: str) -> Score:
    """Return the score of a name that is checked."""
    return SCORE_METHODS.find(name)[0]


def refiner_named(name: str) -> Refiner:
    """Return the refiner of a name that is checked."""
    return REFINER_METHODS.find(name)[0]


def _frozen_pairs(value: object) -> object:
    """Return a mapping as sorted pairs whose lists are tuples, so that the model is hashable."""
    if not isinstance(value, dict | tuple):
        raise PydanticCustomError("dict_type", "a mapping")
    return _frozen(as_pairs(value))


def _frozen(value: object) -> object:
    return tuple(_frozen(item) for item in value) if isinstance(value, list | tuple) else value


PluginPairs = Annotated[
    tuple[tuple[str, object], ...], BeforeValidator(_frozen_pairs), Field(title="mapping of parameters to values")
]
"""Type of the key `parameters`."""


def method_parameters(entry: Model, lookup: MethodLookup[LookupAnyMethod], name: str) -> Parameters:
    """Return the parameters of a method: of a built-in one from keys of the entry, of a plug-in as plain values."""
    method, source = lookup.find(name)
    if source is None:
        return chosen_parameters(entry, method)
    return PluginParameters.of(_typed(dict(_pairs(entry)), method))


def check_parameters(entry: Model, methods: Mapping[str, tuple[Method, PluginSource | None]]) -> None:
    """Check the parameters of an entry against the plug-ins among its methods.

    Args:
        methods: name -> method and source.
    Raises:
        PydanticCustomError: no plug-in of the entry has such a parameter, or its value is wrong for one of them.
    """
    values = dict(_pairs(entry))
    plugins = {name: method for name, (method, source) in methods.items() if source is not None}
    if values and not plugins:
        expected = "keys of the entry itself for methods of mlprune"
        raise with_context(RecipeError("parameters are those of plug-ins", expected=expected, got=sorted(values)))
    known = dict.fromkeys(field.name for method in plugins.values() for field in fields(method.parameters))
    for name in values:
        if name not in known:
            error = unknown("parameter of a plug-in", name, known, error=RecipeError, plugin=" or ".join(plugins))
            raise with_context(error)
    for method in plugins.values():
        _typed(values, method)


def _pairs(entry: Model) -> tuple[tuple[str, object], ...]:
    pairs: tuple[tuple[str, object], ...] = getattr(entry, "parameters", ())
    return pairs


def _typed(values: Mapping[str, object], plugin: Method) -> Parameters:
    """Return the parameters of a plug-in from values among which those of other plug-ins may be.

    Raises:
        PydanticCustomError: a value is wrong.
    """
    options = with_options("PluginOptions", Model, plugin={"plugin": plugin})
    try:
        config = options.model_validate({name: value for name, value in values.items() if name in options.model_fields})
    except ValidationError as err:
        first = err.errors(include_url=False)[0]
        expected = first["msg"].removeprefix("Input should be ")
        context = {"parameter": str(first["loc"][0]), "expected": expected, "got": first["input"]}
        raise with_context(RecipeError("a parameter of a plug-in is wrong", context)) from err
    return chosen_parameters(config, plugin)
