"""Scores of plug-ins are checked: a bad plug-in is named together with the block and the layer."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from mlprune.errors import OutOfMemoryError, PluginError
from mlprune.methods import Parameters, parameter
from mlprune.methods.plugins import PluginParameters, PluginSource, RefinerPlugin, ScorePlugin, StructurePlugin
from mlprune.numeric.weights.layer_inputs import FeatureMoments, LayerInputs
from mlprune.plugins import LayerSize, RefinedLayer, ScheduleInputs, SchedulePlugin
from mlprune.plugins import Parameters as PluginsParameters
from mlprune.pruning.plugin_calls import (
    ConfiguredPlugin,
    plugin_levels,
    plugin_refined_layer,
    plugin_scores,
    plugin_sparsities,
)
from tests.refusals import refused

SOURCE = PluginSource("0" * 64, "bad-scores", "0.1")
SHAPE = (4, 6)


@dataclass(frozen=True)
class Power(Parameters):
    """Parameters of the scores below."""

    power: float = parameter(2.0, "exponent")


def layer() -> LayerInputs:
    generator = torch.Generator().manual_seed(0)
    moments = FeatureMoments(2.0, 8.0, *(torch.rand(6, generator=generator, dtype=torch.float64) for _ in range(3)))
    return LayerInputs(
        torch.randn(SHAPE, generator=generator),
        torch.rand(6, generator=generator),
        block=3,
        layer="fc1",
        moments=moments,
        products=torch.eye(6, dtype=torch.float64),
    )


def scores(function: Callable[..., Any], *, repeats: bool = True, **values: float) -> Tensor:
    plugin = ScorePlugin("for a test", name="planted", parameters=Power, function=function)
    parameters = PluginParameters.from_values(values)
    return plugin_scores(ConfiguredPlugin(plugin, parameters, SOURCE), layer(), repeats=repeats)


def good(inputs: LayerInputs, parameters: Power) -> Tensor:
    return inputs.weight.abs() ** parameters.power * inputs.norms


@pytest.mark.parametrize("repeats", [False, True])
def test_a_good_plugin_gets_the_inputs_and_its_parameters(repeats: bool) -> None:
    inputs = layer()
    assert torch.equal(scores(good, repeats=repeats), inputs.weight.abs() ** 2.0 * inputs.norms)
    assert torch.equal(scores(good, repeats=repeats, power=3.0), inputs.weight.abs() ** 3.0 * inputs.norms)


def _raises(inputs: LayerInputs, _: Power) -> Tensor:
    raise RuntimeError("two\nlines")


def _reads_gradients(inputs: LayerInputs, _: Power) -> Tensor:
    assert inputs.gradients is not None, "gradients were not declared"
    return inputs.gradients


def _with(value: float) -> Callable[..., Tensor]:
    def one_wrong(inputs: LayerInputs, parameters: Power) -> Tensor:
        values = good(inputs, parameters)
        values[1, 2] = value
        return values

    return one_wrong


def _changes(name: str, *, by_numpy: bool = False) -> Callable[..., Tensor]:
    def changing(inputs: LayerInputs, parameters: Power) -> Tensor:
        values = good(inputs, parameters)
        tensor = inputs.moments.sums if name == "sums" and inputs.moments else getattr(inputs, name)
        if by_numpy:
            tensor.numpy()[0] += 1
        else:
            tensor[0] += 1
        return values

    return changing


def _counting() -> Iterator[int]:
    number = 0
    while True:
        yield (number := number + 1)


NUMBERS = _counting()
BAD: dict[str, tuple[Callable[..., Any], str]] = {
    "raises": (_raises, "two lines"),
    "exits the loop": (lambda inputs, _: next(iter(())), "StopIteration"),
    "reads statistics that it does not declare": (_reads_gradients, "not declared"),
    "returns None": (lambda inputs, _: None, "no tensor"),
    "returns an array": (lambda inputs, _: inputs.weight.abs().numpy(), "no tensor"),
    "returns float64": (lambda inputs, _: inputs.weight.abs().double(), "dtype"),
    "returns integers": (lambda inputs, _: inputs.weight.abs().int(), "dtype"),
    "returns the transpose": (lambda inputs, parameters: good(inputs, parameters).T, "shape"),
    "returns one score per row": (lambda inputs, _: inputs.weight.abs().sum(1), "shape"),
    "returns another device": (lambda inputs, _: torch.empty(SHAPE, device="meta"), "device"),
    "returns NaN": (_with(float("nan")), "1 not finite, 0 negative"),
    "returns infinity": (_with(float("inf")), "1 not finite, 0 negative"),
    "returns a negative score": (_with(-1e-9), "0 not finite, 1 negative"),
    "changes the weight": (_changes("weight"), "changes its arguments"),
    "changes the norms": (_changes("factors"), "changes its arguments"),
    "changes the Gram matrix by NumPy": (_changes("products", by_numpy=True), "changes its arguments"),
    "changes the sums by NumPy": (_changes("sums", by_numpy=True), "changes its arguments"),
    "draws random numbers": (lambda inputs, _: torch.rand(SHAPE), "another result"),
    "counts its calls": (lambda inputs, _: inputs.weight.abs() + next(NUMBERS), "another result"),
}


def test_a_change_by_torch_is_noticed_in_every_call() -> None:
    with refused(PluginError, layer="fc1", block=3):
        scores(_changes("weight"), repeats=False)


def test_a_view_of_an_input_does_not_change_it_later() -> None:
    inputs = replace(layer(), weight=layer().weight.abs())
    plugin = ScorePlugin("the weight itself", name="planted", function=lambda inputs, _: inputs.weight)
    returned = plugin_scores(ConfiguredPlugin(plugin, PluginParameters(), SOURCE), inputs, repeats=True)
    assert torch.equal(returned, inputs.weight)


def raises(error: Exception) -> Callable[[LayerInputs, Power], Tensor]:
    def function(inputs: LayerInputs, _: Power) -> Tensor:
        raise error

    return function


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        torch.AcceleratorError("CUDA error: out of memory"),
        RuntimeError("std::bad_alloc"),
    ],
)
def test_memory_that_libraries_cannot_get_is_not_the_plugin_s_fault(error: Exception) -> None:
    with pytest.raises(OutOfMemoryError):
        scores(raises(error))


def test_an_accelerator_that_stops_working_is_not_the_plugin_s_fault() -> None:
    error = torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
    with pytest.raises(torch.AcceleratorError, match="illegal memory access"):
        scores(raises(error))


STRUCTURES_SOURCE = PluginSource("0" * 64, "bad-structures", "2.0")
SCORES = torch.rand(4, 8, generator=torch.Generator().manual_seed(3))


def levels(function: Callable[..., Any], *sparsities: float, **attributes: Any) -> Tensor:
    plugin = StructurePlugin("for a test", name="planted", function=function, **attributes)
    return plugin_levels(
        ConfiguredPlugin(plugin, PluginParameters(), STRUCTURES_SOURCE),
        SCORES.clone(),
        sparsities=sparsities or (0.25, 0.5),
        position=(2, "fc1"),
        repeats=True,
    )


def columns(scores: Tensor, sparsity: float, _: PluginsParameters) -> Tensor:
    """Remove the share of the columns with the lowest sums."""
    lowest = scores.sum(0).argsort(stable=True)[: int(sparsity * scores.shape[1])]
    keep = torch.ones_like(scores, dtype=torch.bool)
    keep[:, lowest] = False
    return keep


def column_numbers(shape: tuple[int, int], sparsity: float, _: PluginsParameters) -> int:
    return int(sparsity * shape[1]) * shape[0]


def test_levels_are_the_first_sparsity_that_removes_a_weight() -> None:
    found = levels(columns, 0.0, 0.25, 0.5, 0.75, n_removed=column_numbers)
    order = SCORES.sum(0).argsort(stable=True)
    assert found.dtype == torch.uint8
    assert found[:, order].tolist() == [[1, 1, 2, 2, 3, 3, 4, 4]] * 4


def test_without_n_removed_the_share_of_the_matrix_is_removed() -> None:
    def lowest(scores: Tensor, sparsity: float, _: PluginsParameters) -> Tensor:
        keep = torch.ones(32, dtype=torch.bool)
        keep[scores.flatten().argsort()[: int(sparsity * 32)]] = False
        return keep.reshape(4, 8)

    assert int((levels(lowest, 0.3) == 0).sum()) == 9


def _one_less(scores: Tensor, sparsity: float, parameters: PluginsParameters) -> Tensor:
    keep = columns(scores, sparsity, parameters)
    keep[0, int(keep[0].logical_not().nonzero()[0])] = True
    return keep


def _other_end(scores: Tensor, sparsity: float, parameters: PluginsParameters) -> Tensor:
    return columns(scores if sparsity < 0.5 else -scores, sparsity, parameters)


def _sorts(scores: Tensor, sparsity: float, parameters: PluginsParameters) -> Tensor:
    keep = columns(scores, sparsity, parameters)
    scores.numpy().sort()
    return keep


STRUCTURES_BAD: dict[str, tuple[Any, ...]] = {
    "raises": (lambda *_: {}["rows"], "KeyError"),
    "returns nothing": (lambda *_: None, "no tensor"),
    "returns levels": (lambda scores, *_: columns(scores, 0.25, PluginsParameters()).int(), "shape, dtype"),
    "returns a mask per column": (lambda scores, *_: scores.sum(0) > 1, "shape, dtype"),
    "removes one weight less": (_one_less, "another number", {"n_removed": column_numbers}),
    "removes everything": (lambda scores, *_: scores > 2, "another number"),
    "does not nest": (_other_end, "lower sparsity removes"),
    "sorts the scores": (_sorts, "changes its arguments"),
    "counts by a fraction": (columns, "whole number", {"n_removed": lambda shape, sparsity, _: sparsity * shape[1]}),
    "counts too many": (columns, "whole number", {"n_removed": lambda shape, *_: shape[0] * shape[1]}),
    "counts below zero": (columns, "whole number", {"n_removed": lambda *_: -1}),
    "cannot count": (columns, "KeyError", {"n_removed": lambda *_: {}["size"]}),
    "draws the columns": (lambda scores, s, p: columns(torch.rand_like(scores), s, p), "another result"),
}


def test_masks_that_do_not_nest_are_right_one_at_a_time() -> None:
    assert int((levels(_other_end, 0.5) == 0).sum()) == 16


SCHEDULES_SOURCE = PluginSource("0" * 64, file="bad_schedule.py")
INPUTS = ScheduleInputs(
    0.5, tuple(LayerSize(block, layer, 100 * n) for block in (0, 1) for n, layer in ((1, "q"), (3, "fc")))
)


def sparsities(function: Callable[..., Any]) -> tuple[float, ...]:
    plugin = SchedulePlugin("for a test", name="planted", function=function)
    return plugin_sparsities(ConfiguredPlugin(plugin, PluginParameters(), SCHEDULES_SOURCE), INPUTS)


def test_the_mean_is_weighted_by_the_sizes_of_the_layers() -> None:
    def less_in_small_layers(inputs: ScheduleInputs, _: PluginsParameters) -> list[float]:
        return [0.2 if layer.n_weights == 100 else 0.6 for layer in inputs.layers]

    assert sparsities(less_in_small_layers) == (0.2, 0.6, 0.2, 0.6)


def _fixed(*values: Any) -> Callable[..., Sequence[Any]]:
    return lambda *_: values


SCHEDULES_BAD: dict[str, tuple[Callable[..., Any], str]] = {
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


REFINERS_SOURCE = PluginSource("0" * 64, file="bad_refiner.py")


def refiners_layer() -> tuple[LayerInputs, Tensor]:
    weight = torch.randn(4, 8, generator=torch.Generator().manual_seed(1))
    keep = torch.tensor([[True, False] * 4] * 4)
    return LayerInputs(weight, torch.ones(8), block=1, layer="fc2", products=torch.eye(8, dtype=torch.float64)), keep


def refined(function: Callable[..., Any], *, structure: str = "2:4", changes_weights: bool = False) -> RefinedLayer:
    plugin = RefinerPlugin("for a test", changes_weights=changes_weights, name="planted", function=function)
    inputs, keep = refiners_layer()
    configured = ConfiguredPlugin(plugin, PluginParameters(), REFINERS_SOURCE)
    return plugin_refined_layer(configured, inputs, keep, structure=structure, repeats=True)


def largest(inputs: LayerInputs, keep: Tensor, structure: str, _: PluginsParameters) -> RefinedLayer:
    """Keep the two largest of four."""
    groups = inputs.weight.abs().reshape(4, 2, 4)
    chosen = torch.zeros(4, 2, 4, dtype=torch.bool).scatter_(2, groups.topk(2, dim=2).indices, value=True)
    return RefinedLayer(chosen.reshape(4, 8), n_swaps=torch.zeros(4, dtype=torch.int32))


def test_a_good_refiner_moves_weights_inside_their_groups() -> None:
    result = refined(largest)
    assert result.keep.reshape(4, 2, 4).sum(2).eq(2).all()
    assert not torch.equal(result.keep, refiners_layer()[1])


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


REFINERS_BAD: dict[str, tuple[Any, ...]] = {
    "raises": (lambda *_: 1 / 0, "ZeroDivisionError"),
    "takes too few arguments": (lambda inputs: inputs, "TypeError"),
    "returns a mask alone": (lambda inputs, keep, *_: keep, "no RefinedLayer"),
    "keeps everything": (_kept(torch.ones_like), "sparsity of a comparison group"),
    "moves a weight to another group": (_kept(lambda keep: keep.roll(1, 1).sort(1).values), "comparison group"),
    "returns integers": (_kept(lambda keep: keep.int()), "keep has another"),
    "returns the transpose": (_kept(lambda keep: keep.T), "keep has another"),
    "returns a list": (_kept(lambda keep: keep.tolist()), "keep is not a tensor"),
    "changes the mask in place": (_in_place, "changes its arguments"),
    "returns weights without saying so": (_weight(lambda weight, keep: weight * keep), "returns weights"),
    "leaves removed weights": (_weight(lambda weight, keep: weight.clone()), "not 0", {"changes_weights": True}),
    "returns NaN": (_weight(lambda weight, keep: weight * keep / 0 * 0), "not finite", {"changes_weights": True}),
    "returns float64": (
        _weight(lambda weight, keep: (weight * keep).double()),
        "weight has another",
        {"changes_weights": True},
    ),
    "counts swaps per weight": (lambda i, keep, *_: RefinedLayer(keep, n_swaps=keep.int()), "n_swaps has"),
    "moves weights at random": (
        lambda i, keep, *_: RefinedLayer(
            keep if torch.rand(()) > 2 else torch.rand(4, 2, 4).argsort(2).lt(2).flatten(1)
        ),
        "another result",
    ),
}


KINDS: dict[str, tuple[Callable[..., Any], dict[str, Any], dict[str, Any]]] = {
    "score": (scores, BAD, {"source": "bad-scores 0.1", "block": 3, "layer": "fc1"}),
    "structure": (levels, STRUCTURES_BAD, {"source": "bad-structures 2.0", "block": 2, "layer": "fc1"}),
    "schedule": (sparsities, SCHEDULES_BAD, {"source": "bad_schedule.py"}),
    "refiner": (refined, REFINERS_BAD, {"source": "bad_refiner.py", "block": 1, "layer": "fc2"}),
}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, (_, bad, _) in KINDS.items() for name in bad])
def test_a_bad_plugin_is_refused_in_one_line_with_block_and_layer(kind: str, name: str) -> None:
    call, bad, context = KINDS[kind]
    function, expected, *options = bad[name]
    with refused(PluginError, **{kind: "planted"}, **context) as raised:
        call(function, **(options[0] if options else {}))
    assert expected in str(raised.value)
    assert "\n" not in str(raised.value)
