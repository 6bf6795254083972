"""Recipe keys of the parameters of methods."""

from dataclasses import dataclass

import pytest
from pydantic import ValidationError

from mlprune.methods import NO_PARAMETERS, Method, Parameters, parameter
from mlprune.recipe.base import Model
from mlprune.recipe.options import check_owners, chosen_parameters, with_options


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
    with pytest.raises(ValueError, match="power belongs to method first or second, got method plain"):
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
