"""Names of methods in recipes: of the registries, and of plug-ins, which are loaded when a recipe names them."""

import re
from dataclasses import dataclass
from typing import Generic, TypeVar

from mlprune.errors import PluginError, RecipeError
from mlprune.methods import Method, Refiner, Score, Structure
from mlprune.methods.plugins import REFINER_METHODS, SCORE_METHODS, STRUCTURE_METHODS, MethodLookup, PluginSource
from mlprune.recipe.base import unknown_name, with_context

N_M = "N:M"
_PATTERN = re.compile(r"[1-9][0-9]*:[1-9][0-9]*")
AnyMethod = TypeVar("AnyMethod", bound=Method)


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
            if name not in self.lookup.built_in and name not in self.lookup.names:
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
