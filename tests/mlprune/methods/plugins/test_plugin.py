"""Parameters of plug-ins as plain values: without defaults, hashable, and typed again."""

from dataclasses import dataclass

from mlprune.hashing import without_defaults
from mlprune.methods import Parameters, parameter
from mlprune.methods.plugins import PluginParameters, PluginSource, typed_parameters


@dataclass(frozen=True)
class Weights(Parameters):
    """Parameters with a list and a seed."""

    power: float = parameter(2.0, "exponent")
    weights: tuple[float, ...] = ()
    seed: int = parameter(0, "seed")


@dataclass(frozen=True)
class Holder:
    """A specification."""

    parameters: Parameters = Parameters()  # noqa: RUF009 - frozen
    plugin: PluginSource | None = None


def test_defaults_are_left_out_and_a_seed_always_stays() -> None:
    assert dict(PluginParameters.of(Weights())) == {"seed": 0}
    assert dict(PluginParameters.of(Weights(power=1.5, weights=(0.5, 1.0)))) == {
        "power": 1.5,
        "seed": 0,
        "weights": (0.5, 1.0),
    }


def test_plain_values_become_typed_parameters_again() -> None:
    given = Weights(power=0.25, weights=(1.0, 2.0), seed=7)
    plain = PluginParameters.of(given)
    assert typed_parameters(Weights, plain) == given
    assert PluginParameters.from_values({"power": 0.25, "weights": [1.0, 2.0], "seed": 7}) == plain
    assert hash(plain) == hash(PluginParameters.of(given))
    assert typed_parameters(Weights, plain.with_seed(3)) == Weights(power=0.25, weights=(1.0, 2.0), seed=3)


def test_ids_have_the_values_by_name_and_never_the_text_of_a_file() -> None:
    source = PluginSource("ab", file="my_score.py", text="code")
    assert without_defaults(Holder(PluginParameters((("power", 1.5),)), source)) == {
        "parameters": {"power": 1.5},
        "plugin": {"sha256": "ab", "file": "my_score.py"},
    }
    assert without_defaults(Holder(PluginParameters())) == {}
    assert source == PluginSource("ab", file="my_score.py")
    assert PluginSource.from_parameters({"sha256": "ab", "file": "my_score.py"}) == source
    assert PluginSource.from_parameters(None) is None
