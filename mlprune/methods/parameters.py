"""Parameters of methods, with what recipes need to know of them."""

from dataclasses import dataclass, field
from typing import TypeVar

Value = TypeVar("Value")
Chosen = TypeVar("Chosen", bound="Parameters")


@dataclass(frozen=True)
class Parameters:
    """The parameters of a method; this class itself is for methods without any.

    Every field of a subclass has a default, which is not part of an id, and is a key of the recipe. A field named
    `seed` is the seed of the variant.
    """


NO_PARAMETERS = Parameters()


def checked_parameters(parameters: Parameters, kind: type[Chosen]) -> Chosen:
    """Return the parameters of a method, which have to be of its class.

    Raises:
        TypeError: they are of another class.
    """
    if not isinstance(parameters, kind):
        raise TypeError(f"expected {kind.__name__}, got {type(parameters).__name__}")
    return parameters


def parameter(
    default: Value,
    meaning: str,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    ignored_by_others: bool = False,
) -> Value:
    """Return the field of a parameter.

    Args:
        meaning: noun phrase for the recipe reference.
        above: exclusive lower bound.
        at_least: inclusive lower bound.
        below: exclusive upper bound.
        ignored_by_others: whether other methods of the registry accept the key and ignore it.
    """
    bounds = {"gt": above, "ge": at_least, "lt": below}
    metadata = {"meaning": meaning, "ignored_by_others": ignored_by_others, "bounds": bounds}
    made: Value = field(default=default, metadata=metadata)
    return made
