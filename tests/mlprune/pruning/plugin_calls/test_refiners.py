"""Refiners of plug-ins are checked: sparsity, shapes, weights, and that they are pure functions."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from mlprune.errors import PluginError
from mlprune.methods.plugins import PluginParameters, PluginSource, RefinerPlugin
from mlprune.numeric.weights.layer_inputs import LayerInputs
from mlprune.plugins import Parameters, RefinedLayer
from mlprune.pruning.plugin_calls.refiners import plugin_refined_layer

SOURCE = PluginSource("0" * 64, file="bad_refiner.py")


def layer() -> tuple[LayerInputs, Tensor]:
    weight = torch.randn(4, 8, generator=torch.Generator().manual_seed(1))
    keep = torch.tensor([[True, False] * 4] * 4)
    return LayerInputs(weight, torch.ones(8), block=1, layer="fc2", products=torch.eye(8, dtype=torch.float64)), keep


def refined(function: Callable[..., Any], *, structure: str = "2:4", changes_weights: bool = False) -> RefinedLayer:
    plugin = RefinerPlugin("for a test", changes_weights=changes_weights, name="planted", function=function)
    inputs, keep = layer()
    return plugin_refined_layer(
        plugin, inputs, keep, structure=structure, parameters=PluginParameters(), source=SOURCE, repeats=True
    )


def largest(inputs: LayerInputs, keep: Tensor, structure: str, _: Parameters) -> RefinedLayer:
    """Keep the two largest of four."""
    groups = inputs.weight.abs().reshape(4, 2, 4)
    chosen = torch.zeros(4, 2, 4, dtype=torch.bool).scatter_(2, groups.topk(2, dim=2).indices, value=True)
    return RefinedLayer(chosen.reshape(4, 8), n_swaps=torch.zeros(4, dtype=torch.int32))


def test_a_good_refiner_moves_weights_inside_their_groups() -> None:
    result = refined(largest)
    assert result.keep.reshape(4, 2, 4).sum(2).eq(2).all()
    assert not torch.equal(result.keep, layer()[1])


def test_a_refiner_that_declares_it_may_change_weights() -> None:
    def halved(inputs: LayerInputs, keep: Tensor, *_: Any) -> RefinedLayer:
        return RefinedLayer(keep, weight=inputs.weight / 2 * keep)

    result = refined(halved, changes_weights=True)
    assert result.weight is not None
    assert result.weight.masked_select(~result.keep).eq(0).all()


def _kept(change: Callable[[Tensor], object]) -> Callable[..., RefinedLayer]:
    def refiner(inputs: LayerInputs, keep: Tensor, *_: Any) -> RefinedLayer:
        return RefinedLayer(change(keep.clone()))  # type: ignore[arg-type]

    return refiner


def _weight(weight: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., RefinedLayer]:
    return lambda inputs, keep, *_: RefinedLayer(keep, weight=weight(inputs.weight, keep))


def _in_place(inputs: LayerInputs, keep: Tensor, *_: Any) -> RefinedLayer:
    return RefinedLayer(keep.logical_not_())


BAD: dict[str, tuple[Callable[..., Any], str, bool]] = {
    "raises": (lambda *_: 1 / 0, "ZeroDivisionError", False),
    "takes too few arguments": (lambda inputs: inputs, "TypeError", False),
    "returns a mask alone": (lambda inputs, keep, *_: keep, "no RefinedLayer", False),
    "keeps everything": (_kept(torch.ones_like), "sparsity of a comparison group", False),
    "moves a weight to another group": (_kept(lambda keep: keep.roll(1, 1).sort(1).values), "comparison group", False),
    "returns integers": (_kept(lambda keep: keep.int()), "keep has another", False),
    "returns the transpose": (_kept(lambda keep: keep.T), "keep has another", False),
    "returns a list": (_kept(lambda keep: keep.tolist()), "keep is not a tensor", False),
    "changes the mask in place": (_in_place, "changes its arguments", False),
    "returns weights without saying so": (_weight(lambda weight, keep: weight * keep), "returns weights", False),
    "leaves removed weights": (_weight(lambda weight, keep: weight.clone()), "not 0", True),
    "returns NaN": (_weight(lambda weight, keep: weight * keep / 0 * 0), "not finite", True),
    "returns float64": (_weight(lambda weight, keep: (weight * keep).double()), "weight has another", True),
    "counts swaps per weight": (lambda i, keep, *_: RefinedLayer(keep, n_swaps=keep.int()), "n_swaps has", False),
    "moves weights at random": (
        lambda i, keep, *_: RefinedLayer(
            keep if torch.rand(()) > 2 else torch.rand(4, 2, 4).argsort(2).lt(2).flatten(1)
        ),
        "another result",
        False,
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_refiner_is_refused_in_one_line_with_block_and_layer(name: str) -> None:
    function, expected, changes_weights = BAD[name]
    with pytest.raises(PluginError, match=expected) as raised:
        refined(function, changes_weights=changes_weights)
    assert "\n" not in str(raised.value)
    where = {"refiner": "planted", "source": "bad_refiner.py", "block": 1, "layer": "fc2"}
    assert {key: raised.value.context[key] for key in where} == where
