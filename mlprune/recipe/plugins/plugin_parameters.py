"""Parameters of plug-ins in an entry of a recipe: the key `parameters`, checked against the plug-ins of the entry."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_core import PydanticCustomError

from mlprune.errors import RecipeError, unknown
from mlprune.methods import Method, Parameters
from mlprune.methods.plugins import MethodLookup, PluginParameters, PluginSource
from mlprune.methods.plugins.lookup import AnyMethod
from mlprune.recipe.base import Model, as_pairs, with_context
from mlprune.recipe.options import chosen_parameters, with_options


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


def method_parameters(entry: Model, lookup: MethodLookup[AnyMethod], name: str) -> Parameters:
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
