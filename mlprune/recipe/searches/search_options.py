"""Method and budget of a search. The keys of the parameters of methods come from their registry."""

from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field, model_validator

from mlprune.methods import Parameters
from mlprune.recipe.base import Model, RegisteredName
from mlprune.recipe.options import check_owners, chosen_parameters, with_options
from mlprune.search.registry import SEARCH_METHODS

_METHOD = RegisteredName("search method", tuple(SEARCH_METHODS))
MethodName = Annotated[str, AfterValidator(_METHOD), Field(title=_METHOD.title)]


class BudgetConfig(Model):
    """When a search ends; one of both keys."""

    variants: Annotated[int, Field(ge=1)] | None = None
    """Most variants that are evaluated."""
    items: Annotated[int, Field(ge=1)] | None = None
    """Most items that are scored, summed over tasks and languages. `mlprune plan` converts it to time."""

    @model_validator(mode="after")
    def _has_one_key(self) -> "BudgetConfig":
        if (self.variants is None) == (self.items is None):
            raise ValueError("a budget is a number of variants or of items, one of both")
        return self


class SearchMethodFields(Model):
    """How trials are chosen. `method: random` is short for `method: {kind: random}`."""

    kind: MethodName = "random"
    """Search method."""

    @model_validator(mode="before")
    @classmethod
    def _from_word(cls, value: object) -> object:
        return {"kind": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _options_fit_kind(self) -> "SearchMethodFields":
        check_owners(self, "method", SEARCH_METHODS, self.kind)
        return self

    @property
    def parameters(self) -> Parameters:
        """The parameters of the method."""
        return chosen_parameters(self, SEARCH_METHODS[self.kind])


if TYPE_CHECKING:

    class SearchMethodConfig(SearchMethodFields):
        """`SearchMethodFields` with a key for every parameter of a method."""

else:
    SearchMethodConfig = with_options("SearchMethodConfig", SearchMethodFields, method=SEARCH_METHODS)
