"""Parameters of the methods that a specification names, of built-in ones and of plug-ins."""

from collections.abc import Mapping

from mlprune.hashing import with_defaults
from mlprune.json_values import JsonValue
from mlprune.methods import NO_PARAMETERS, Parameters, checked_parameters
from mlprune.methods.plugins import MethodLookup, PluginParameters
from mlprune.methods.plugins.lookup import AnyMethod


def parameters_class(lookup: MethodLookup[AnyMethod], name: str, plugin: object) -> type[Parameters]:
    """Return the class of the parameters of a method. A plug-in is not loaded: its parameters are plain values."""
    return PluginParameters if plugin is not None else lookup.built_in[name].parameters


def fill_in_parameters(spec: object, name: str, kind: type[Parameters]) -> None:
    """Give a specification the default parameters of its method if it has none."""
    given = getattr(spec, name)
    if given == NO_PARAMETERS:
        object.__setattr__(spec, name, kind())
    elif not isinstance(given, dict):
        checked_parameters(given, kind)


def given_parameters(kind: type[Parameters], values: JsonValue) -> Parameters:
    """Return the parameters in a record; those that are absent have their defaults."""
    if kind is PluginParameters:
        return PluginParameters.from_values(values)
    return with_defaults(kind, values if isinstance(values, Mapping) else {})
