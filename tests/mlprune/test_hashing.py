"""Parameters of ids: defaults are left out, and absent parameters have their defaults."""

from dataclasses import dataclass, field

import pytest

from mlprune.hashing import digest, with_defaults, without_defaults


@dataclass(frozen=True)
class Inner:
    m: float = 5.0


@dataclass(frozen=True)
class Spec:
    name: str
    shares: tuple[float, ...] = ()
    pairs: tuple[tuple[int, float], ...] = ()
    inner: Inner = field(default_factory=Inner)
    path: str = ""


@dataclass(frozen=True)
class SpecWithAnOption(Spec):
    option: float | None = None


def test_a_field_at_its_default_is_not_a_parameter_and_one_without_a_default_always_is() -> None:
    assert without_defaults(Spec("a")) == {"name": "a"}
    spec = Spec("a", (0.5, 1), ((0, 0.25),), Inner(2.0), "here")
    parameters = {"name": "a", "shares": [0.5, 1], "pairs": [[0, 0.25]], "inner": {"m": 2.0}}
    assert without_defaults(spec, omit=("path",)) == parameters


def test_an_optional_field_changes_no_existing_id() -> None:
    assert digest(without_defaults(SpecWithAnOption("a"))) == digest(without_defaults(Spec("a")))
    assert digest(without_defaults(SpecWithAnOption("a", option=1.0))) != digest(without_defaults(Spec("a")))


def test_parameters_without_a_key_load_with_its_default() -> None:
    spec = SpecWithAnOption("a", (0.5, 1), ((0, 0.25),))
    assert with_defaults(SpecWithAnOption, {**without_defaults(spec), "other": 1}) == spec


def test_only_dataclasses_have_defaults_and_required_parameters_are_required() -> None:
    with pytest.raises(TypeError):
        with_defaults(dict, {"name": "a"})
    with pytest.raises(TypeError):
        with_defaults(Spec, {})
