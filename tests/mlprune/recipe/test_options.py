"""Recipe keys of the parameters of methods."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import ValidationError

from mlprune.methods import NO_PARAMETERS, Method, Parameters, parameter
from mlprune.recipe.combinations import SECTIONS as SECTIONS_OF_A_RECIPE
from mlprune.recipe.loading import first_error
from mlprune.recipe.models import Recipe
from mlprune.recipe.options import check_owners, chosen_parameters, with_options
from mlprune.recipe.variants import VariantConfig
from mlprune.strict_model import Model
from tests.golden import contract
from tests.recipe_sections import SECTIONS, Section, accepted_values, refusal, valid_entries, value_of


@dataclass(frozen=True)
class PowerParameters(Parameters):
    """Parameters of the first method."""

    power: float = parameter(0.5, "exponent", above=0)
    seed: int = parameter(0, "seed", ignored_by_others=True)


@dataclass(frozen=True)
class OtherPowerParameters(Parameters):
    """Parameters of the second method."""

    power: float = parameter(2.0, "another exponent")


METHODS = {
    "first": Method("first", parameters=PowerParameters),
    "second": Method("second", parameters=OtherPowerParameters),
    "plain": Method("without parameters"),
}


class Entry(Model):
    """An entry of a recipe."""

    method: str = "plain"
    """The chosen method."""


ENTRY = with_options("Entry", Entry, method=METHODS)


def test_every_parameter_is_a_key_with_a_sentence_per_method() -> None:
    assert list(ENTRY.model_fields) == ["method", "power", "seed"]
    assert ENTRY.model_fields["power"].description == "first: exponent (0.5). second: another exponent (2.0)."
    assert ENTRY.model_fields["seed"].description == "first: seed (0); others ignore it."
    assert (ENTRY.model_fields["power"].default, ENTRY.model_fields["seed"].default) == (None, 0)


def test_absent_keys_have_the_defaults_of_the_chosen_method() -> None:
    given = ENTRY.model_validate({"method": "first", "power": 0.7})
    assert chosen_parameters(given, METHODS["first"]) == PowerParameters(0.7)
    assert chosen_parameters(ENTRY(), METHODS["second"]) == OtherPowerParameters(2.0)
    assert chosen_parameters(given, METHODS["plain"]) == NO_PARAMETERS


def test_keys_of_another_method_are_refused_unless_they_are_ignored() -> None:
    check_owners(ENTRY.model_validate({"seed": 3}), "method", METHODS, "plain")
    check_owners(ENTRY.model_validate({"power": None}), "method", METHODS, "plain")
    with pytest.raises(ValueError, match="power does not apply to method plain, only to first or second"):
        check_owners(ENTRY.model_validate({"power": 1.0}), "method", METHODS, "plain")


def test_unknown_keys_and_values_out_of_range_are_refused() -> None:
    for wrong in ({"powr": 1.0}, {"seed": 2**63}, {"power": "much"}):
        with pytest.raises(ValidationError):
            ENTRY.model_validate(wrong)


def test_a_field_without_parameter_is_refused() -> None:
    @dataclass(frozen=True)
    class Bare(Parameters):
        power: float = 0.5

    with pytest.raises(TypeError, match=r"the field power of Bare is not a parameter: declare it with parameter\(\)"):
        with_options("Entry", Entry, method={"bare": Method("bare", parameters=Bare)})


OF_WHOLE_ENTRIES = ("neurons", "adopt", "keep", "structure", "sparsity", "base", "layers")
"""Keys whose values are checked as a part of the whole entry."""


def foreign_keys(section: Section) -> Iterator[tuple[str, str]]:
    """Kind, and a key that only other kinds have."""
    for kind, (key, kinds) in itertools.product(section.bases, section.owners.items()):
        if kind not in kinds and key not in {*section.entry(kind), *section.choosing}:
            yield kind, key


@pytest.mark.parametrize("name", SECTIONS)
def test_entries_of_every_kind_are_valid_and_every_key_belongs_to_kinds(name: str) -> None:
    section = SECTIONS[name]
    for kind in section.bases:
        section.model.model_validate(section.entry(kind))
    if section.common is not None:
        assert set(section.model.model_fields) == {*section.owners, *section.common}


@pytest.mark.parametrize("name", SECTIONS)
def test_a_key_of_another_kind_is_refused_with_the_key_and_the_kind(name: str) -> None:
    section = SECTIONS[name]
    for kind, key in foreign_keys(section):
        with pytest.raises(ValidationError) as caught:
            section.model.model_validate({**section.entry(kind), key: value_of(section, key)})
        text = str(caught.value.errors(include_url=False, include_input=False)[0]["msg"])
        assert key in text
        assert kind in text


def test_every_model_of_a_recipe_has_a_valid_entry() -> None:
    assert {Recipe, *SECTIONS_OF_A_RECIPE.values()} == {model for _, model, _ in valid_entries()}
    assert [place for place, model, entry in valid_entries() if refusal(model, entry)] == []


@pytest.mark.thorough("tries every key of a recipe")
@pytest.mark.parametrize(("place", "model", "entry"), valid_entries(), ids=[place for place, *_ in valid_entries()])
def test_every_key_accepts_the_pinned_values_and_refuses_others_in_one_line_that_names_it(
    place: str, model: type[Model], entry: dict[str, Any]
) -> None:
    pinned = contract.read("recipe").get(place, {})
    errors: list[tuple[str, ValidationError]] = []
    accepted = accepted_values(model, entry, errors)
    assert {key: accepted[key] for key in pinned} == pinned
    for key, err in errors:
        error = first_error(err, where="recipe")
        assert key in f"{error.context['key']} {error.message}" or key in OF_WHOLE_ENTRIES
        assert len(str(error).splitlines()) == 1
        assert error.context["where"] == "recipe"


@pytest.mark.thorough("tries every key of a recipe")
@pytest.mark.parametrize(("place", "model", "entry"), valid_entries(), ids=[place for place, *_ in valid_entries()])
def test_a_misspelt_or_missing_key_is_refused_by_name(place: str, model: type[Model], entry: dict[str, Any]) -> None:
    for key, field in model.model_fields.items():
        err = refusal(model, {**entry, f"{key}{key[-1]}": 1})
        assert err is not None
        assert [one["loc"] for one in err.errors() if one["type"] == "extra_forbidden"] == [(f"{key}{key[-1]}",)]
        if field.is_required():
            err = refusal(model, {other: value for other, value in entry.items() if other != key})
            assert err is not None
            assert first_error(err, where="recipe").context["key"] == key


def test_a_removed_score_is_refused_as_such() -> None:
    with pytest.raises(ValidationError) as caught:
        VariantConfig.model_validate({"score": "pruner_zero", "sparsity": 0.5})
    (error,) = caught.value.errors(include_url=False)
    assert error["ctx"]["context"]["name"] == "pruner_zero"
    assert error["ctx"]["context"]["next"]
