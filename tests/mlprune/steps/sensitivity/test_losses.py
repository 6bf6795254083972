"""Units of a sensitivity analysis."""

from mlprune.pruning.spec import Scope
from mlprune.steps.sensitivity.losses import Unit, units_of

LAYERS = ("q", "fc1")


def test_units_cover_every_layer_of_the_scope_once() -> None:
    for scope in (Scope(), Scope((0, 2)), Scope((), ("fc1",)), Scope((1,), ("q",))):
        inside = [(block, layer) for block in range(3) for layer in LAYERS if scope.includes(block, layer)]
        for kind in ("block", "layer", "block_layer"):
            units = units_of(kind, scope, n_blocks=3, layers=LAYERS)
            assert len({unit.name for unit in units}) == len(units)
            assert [sum(unit.includes(*place) for unit in units) for place in inside] == [1] * len(inside)


def test_a_unit_is_named_after_its_block_its_layer_or_both() -> None:
    assert [unit.name for unit in (Unit(3), Unit(layer="fc1"), Unit(3, "fc1"))] == ["3", "fc1", "3.fc1"]
    assert Unit(3, "fc1").columns == {"unit": "3.fc1", "block": 3, "layer": "fc1"}
