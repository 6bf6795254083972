"""Schedules of plug-ins are checked: one sparsity per layer, each in [0, 1), with the requested mean."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from mlprune.errors import PluginError
from mlprune.methods.plugins import PluginParameters, PluginSource
from mlprune.plugins import LayerSize, Parameters, ScheduleInputs, SchedulePlugin
from mlprune.pruning.plugin_calls.schedules import plugin_sparsities

SOURCE = PluginSource("0" * 64, file="bad_schedule.py")
INPUTS = ScheduleInputs(
    0.5, tuple(LayerSize(block, layer, 100 * n) for block in (0, 1) for n, layer in ((1, "q"), (3, "fc")))
)


def sparsities(function: Callable[..., Any]) -> tuple[float, ...]:
    plugin = SchedulePlugin("for a test", name="planted", function=function)
    return plugin_sparsities(plugin, INPUTS, PluginParameters(), source=SOURCE)


def test_the_mean_is_weighted_by_the_sizes_of_the_layers() -> None:
    def less_in_small_layers(inputs: ScheduleInputs, _: Parameters) -> list[float]:
        return [0.2 if layer.n_weights == 100 else 0.6 for layer in inputs.layers]

    assert sparsities(less_in_small_layers) == (0.2, 0.6, 0.2, 0.6)


def _fixed(*values: Any) -> Callable[..., Sequence[Any]]:
    return lambda *_: values


BAD: dict[str, tuple[Callable[..., Any], str]] = {
    "raises": (lambda inputs, _: inputs.blocks, "AttributeError"),
    "returns one number": (lambda inputs, _: inputs.sparsity, "sparsity per layer"),
    "returns one per block": (_fixed(0.4, 0.6), "2 values"),
    "returns a tensor": (lambda *_: torch.full((4,), 0.5), "Tensor"),
    "returns texts": (_fixed("0.5", 0.5, 0.5, 0.5), "out of range"),
    "returns NaN": (_fixed(float("nan"), 0.5, 0.5, 0.5), "out of range"),
    "prunes everything in a layer": (_fixed(1.0, 1 / 3, 0.5, 0.5), "out of range"),
    "prunes less than nothing": (_fixed(-0.1, 0.7, 0.5, 0.5), "out of range"),
    "forgets the sizes": (_fixed(0.2, 0.8, 0.2, 0.8), "mean sparsity"),
    "draws": (lambda *_: [0.5 + 1e-6 * float(torch.rand(())), 0.5, 0.5, 0.5], "another result"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_schedule_is_refused_in_one_line(name: str) -> None:
    function, expected = BAD[name]
    with pytest.raises(PluginError, match=expected) as raised:
        sparsities(function)
    assert "\n" not in str(raised.value)
    assert raised.value.context["schedule"] == "planted"
    assert raised.value.context["source"] == "bad_schedule.py"
