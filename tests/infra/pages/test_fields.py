"""Types, ranges, defaults and docstrings of model fields."""

from typing import Annotated, Literal

import pytest
from pydantic import BeforeValidator, Field

from infra.pages.fields import default_words, sentences, type_words
from mlprune.strict_model import Language, Model, as_tuple


class Inner(Model):
    """A model inside another."""

    share: Annotated[float, Field(gt=0, lt=0.5)] = 0.25
    """How much."""


class Outer(Model):
    """A model with a field of every kind."""

    name: str
    """What it is
    called."""
    lines: Annotated[int, Field(ge=1, le=5000)] = 1000
    """Lines."""
    shards: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Shards."""
    languages: tuple[Language, ...] = ()
    """Languages."""
    rule: Annotated[tuple[Literal["mean", "sum"], ...], BeforeValidator(as_tuple)] = ("mean",)
    """Rules."""
    structure: Annotated[str, Field(pattern="^row$", title="`row`")] | None = None
    """Structure."""
    is_odd: bool = False
    """Odd."""
    inner: Inner = Inner()
    """Inner."""
    labels: dict[str, int] = Field(default_factory=dict)
    """Labels."""
    several: tuple[Inner, ...] = ()
    """Several."""


LINKS = {Inner: "[inner](#inner)"}
EXPECTED = {
    "name": ("text", "required"),
    "lines": ("integer >= 1 and <= 5,000", "`1000`"),
    "shards": ("integer >= 1 or `auto`", "`auto`"),
    "languages": ("list of languages", ""),
    "rule": ("`mean`, `sum`; or a list", "`[mean]`"),
    "structure": ("`row`", ""),
    "is_odd": ("`true` or `false`", "`false`"),
    "inner": ("[inner](#inner)", ""),
    "labels": ("text: integer, ...", ""),
    "several": ("list of [inner](#inner)", ""),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_field_has_its_type_range_and_default(name: str) -> None:
    assert (type_words(Outer, name, links=LINKS), default_words(Outer, name)) == EXPECTED[name]


def test_a_range_names_both_its_ends() -> None:
    assert type_words(Inner, "share", links={}) == "number > 0 and < 0.5"


def test_a_sentence_is_the_docstring_below_the_field_on_one_line() -> None:
    assert sentences(Outer)["name"] == "What it is called."


def test_a_field_without_a_docstring_is_refused() -> None:
    class Silent(Model):
        """A model that does not say what its field means."""

        depth: int = 0

    with pytest.raises(ValueError, match=r"fields of Silent have no docstring: \['depth'\]"):
        sentences(Silent)
