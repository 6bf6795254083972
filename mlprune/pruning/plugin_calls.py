"""Call the functions of plug-ins: checked arguments and results, errors that name the plug-in.

Every call notices operations of torch that change an argument. A repeated call also compares the arguments with copies,
which notices changes through NumPy, and its two results with each other.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from math import fsum, isfinite
from typing import Generic, TypeVar

import torch
from torch import Tensor

from mlprune.errors import OutOfMemoryError, PluginError, reason_of
from mlprune.methods import Parameters
from mlprune.methods.plugins import (
    AnyPlugin,
    PluginKind,
    PluginParameters,
    PluginSource,
    RefinerPlugin,
    ScheduleInputs,
    SchedulePlugin,
    ScorePlugin,
    StructurePlugin,
    typed_parameters,
)
from mlprune.numeric.refinement.refined_layer import RefinedLayer, kept_counts
from mlprune.numeric.selection.levels import n_removed
from mlprune.numeric.weights.layer_inputs import LayerInputs

Result = TypeVar("Result")
Plugin = TypeVar("Plugin", bound=AnyPlugin)

_ALLOCATOR_MESSAGES = (
    "allocate memory",
    "not enough memory",
    "out of memory",
    "bad_alloc",
    "status_alloc_failed",  # cuBLAS, cuSOLVER and cuDNN
    "cublas_status_not_initialized",
)
"""Messages of allocators inside errors of general types; lower case."""
TOLERANCE = 0.001
"""Largest difference of the mean sparsity, weighted by the sizes of the layers, from the requested one."""


@dataclass(frozen=True)
class ConfiguredPlugin(Generic[Plugin]):
    """A plug-in with the parameters of a specification."""

    plugin: Plugin
    parameters: PluginParameters
    source: PluginSource
    """Distribution or file of its code, for messages."""

    @property
    def typed_parameters(self) -> Parameters:
        """The parameters in the class that the plug-in declares."""
        return typed_parameters(self.plugin.parameters, self.parameters)


@dataclass(frozen=True)
class PluginCall:
    """A plug-in that is called, for messages."""

    kind: PluginKind
    name: str
    source: PluginSource
    block: int | None = None
    """None if the call is for a whole model."""
    layer: str | None = None

    def error(self, message: str, **context: object) -> PluginError:
        """Return the error of a plug-in that breaks its contract."""
        where = {"block": self.block, "layer": self.layer}
        known = {name: value for name, value in where.items() if value is not None}
        return PluginError(message, {self.kind: self.name, "source": self.source.label, **known, **context})


def call_checked(
    call: PluginCall,
    function: Callable[..., object],
    arguments: tuple[object, ...],
    *,
    check: Callable[[object], Result],
    repeats: bool,
) -> Result:
    """Call the function of a plug-in without gradients, and check its result.

    Args:
        check: returns the result if it is right, and raises the error of the call if not.
        repeats: whether the function is called twice, with copies of its tensors to compare with.
    Raises:
        PluginError: the function raises, changes an argument, returns something wrong, or does not repeat its result.
        OutOfMemoryError: the function ran out of memory.
        torch.AcceleratorError: an accelerator stopped working.
    """
    tensors = [tensor for argument in arguments for tensor in tensors_in(argument)]
    copies = [tensor.clone() for tensor in tensors] if repeats else []
    result = check(_called(call, function, arguments, tensors=tensors))
    if not repeats:
        return result
    again = check(_called(call, function, arguments, tensors=tensors))
    if not all(torch.equal(tensor, copy) for tensor, copy in zip(tensors, copies, strict=True)):
        raise _changed(call)
    if not _are_equal(result, again):
        expected = "a pure function: draw random numbers from a generator with a seed of the parameters"
        raise call.error("a plug-in gives another result when it is called again", expected=expected)
    return result


def _are_equal(first: object, second: object) -> bool:
    """Whether two results have the same tensors, or are equal values without tensors."""
    tensors, others = tensors_in(first), tensors_in(second)
    if not tensors or len(tensors) != len(others):
        return not others and first == second
    return all(torch.equal(tensor, other) for tensor, other in zip(tensors, others, strict=True))


def _called(
    call: PluginCall, function: Callable[..., object], arguments: tuple[object, ...], *, tensors: list[Tensor]
) -> object:
    versions = _versions(tensors)
    try:
        with torch.no_grad():
            result = function(*arguments)
    except Exception as err:  # whatever foreign code raises
        reason = reason_of(err)
        if _is_memory(err):
            raise OutOfMemoryError("a plug-in ran out of memory", plugin=call.name, reason=reason) from err
        if isinstance(err, torch.AcceleratorError):
            raise  # another process may be able to use the accelerator
        raise call.error("a plug-in raises an error", reason=reason) from err
    if _versions(tensors) != versions:
        raise _changed(call)
    return result


def tensor_text(shape: torch.Size, dtype: torch.dtype, device: torch.device) -> str:
    """Describe a tensor for a message: `[4, 8], bool, on cpu`."""
    return f"{list(shape)}, {str(dtype).removeprefix('torch.')}, on {device}"


def tensors_in(value: object) -> list[Tensor]:
    """Return the tensors of a value: itself, or those in the fields of a dataclass."""
    if isinstance(value, Tensor):
        return [value]
    if not is_dataclass(value) or isinstance(value, type):
        return []
    return [tensor for field in fields(value) for tensor in tensors_in(getattr(value, field.name))]


def _versions(tensors: list[Tensor]) -> list[int]:
    """Return how often each tensor was changed; tensors of inference mode do not count it."""
    return [tensor._version for tensor in tensors if not tensor.is_inference()]


def _changed(call: PluginCall) -> PluginError:
    return call.error("a plug-in changes its arguments", expected="a pure function: copy a tensor before changing it")


def _is_memory(err: Exception) -> bool:
    if isinstance(err, OutOfMemoryError | MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(err, RuntimeError) and any(message in str(err).lower() for message in _ALLOCATOR_MESSAGES)


def plugin_scores(configured: ConfiguredPlugin[ScorePlugin], inputs: LayerInputs, *, repeats: bool) -> Tensor:
    """Return the scores of one layer.

    Args:
        repeats: whether the plug-in is called twice, to compare the results.
    Returns: [out, in], float32, finite and >= 0, on the device of the weight.
    Raises:
        PluginError: the plug-in breaks the contract of scores.
    """
    call = PluginCall("score", configured.plugin.name, configured.source, inputs.block, inputs.layer)
    expected = f"a tensor {tensor_text(inputs.weight.shape, torch.float32, inputs.weight.device)}"

    def check(scores: object) -> Tensor:
        if not isinstance(scores, Tensor):
            raise call.error("a plug-in returns no tensor", expected=expected, got=type(scores).__name__)
        got = tensor_text(scores.shape, scores.dtype, scores.device)
        for attribute, value, right in (
            ("shape", scores.shape, inputs.weight.shape),
            ("dtype", scores.dtype, torch.float32),
            ("device", scores.device, inputs.weight.device),
        ):
            if value != right:
                raise call.error(f"the scores of a plug-in have another {attribute}", expected=expected, got=got)
        low, high = torch.aminmax(scores)  # a score that is not a number makes both of them so
        if not (float(low) >= 0 and float(high) < torch.inf):
            got = f"{int((~torch.isfinite(scores)).sum())} not finite, {int((scores < 0).sum())} negative"
            raise call.error("a score is negative or not finite", expected="finite scores >= 0", got=got)
        return scores.detach().contiguous()

    arguments = (inputs, configured.typed_parameters)
    return call_checked(call, configured.plugin.function, arguments, check=check, repeats=repeats)


def plugin_levels(
    configured: ConfiguredPlugin[StructurePlugin],
    scores: Tensor,
    *,
    sparsities: Sequence[float],
    position: tuple[int, str],
    repeats: bool,
) -> Tensor:
    """Return the index of the first sparsity that removes a weight, or their number if the weight always stays.

    Args:
        scores: [out, in], float32, finite and >= 0.
        sparsities: ascending, each in [0, 1).
        position: block and layer, for messages.
        repeats: whether the plug-in is called twice at every sparsity, to compare the results.
    Returns: [out, in], uint8.
    Raises:
        PluginError: the plug-in breaks the contract of structures.
    """
    plugin, typed = configured.plugin, configured.typed_parameters
    call = PluginCall("structure", plugin.name, configured.source, *position)
    levels = torch.full(scores.shape, len(sparsities), dtype=torch.uint8, device=scores.device)
    for level, sparsity in enumerate(sparsities):
        if sparsity == 0:
            continue
        keep = _kept(call, plugin, scores, sparsity=sparsity, parameters=typed, repeats=repeats)
        n_restored = int((keep & (levels < len(sparsities))).sum())
        if n_restored:
            expected = "masks that nest, or masks_nest=False"
            raise call.error("a plug-in keeps weights that a lower sparsity removes", expected=expected, got=n_restored)
        levels[~keep & (levels == len(sparsities))] = level
    return levels


def _kept(
    call: PluginCall,
    plugin: StructurePlugin,
    scores: Tensor,
    *,
    sparsity: float,
    parameters: Parameters,
    repeats: bool,
) -> Tensor:
    """Return the kept weights at one sparsity, [out, in] bool."""
    n_expected = _expected_number(call, plugin, scores, sparsity=sparsity, parameters=parameters)

    def check(keep: object) -> Tensor:
        expected = f"a tensor {tensor_text(scores.shape, torch.bool, scores.device)}"
        if not isinstance(keep, Tensor):
            raise call.error("a plug-in returns no tensor", expected=expected, got=type(keep).__name__)
        if (keep.shape, keep.dtype, keep.device) != (scores.shape, torch.bool, scores.device):
            got = tensor_text(keep.shape, keep.dtype, keep.device)
            raise call.error("a mask has another shape, dtype or device", expected=expected, got=got)
        if (n_found := keep.numel() - int(keep.sum())) != n_expected:
            message = "a plug-in removes another number of weights"
            raise call.error(message, sparsity=sparsity, expected=n_expected, got=n_found)
        return keep

    return call_checked(call, plugin.function, (scores, sparsity, parameters), check=check, repeats=repeats)


def _expected_number(
    call: PluginCall, plugin: StructurePlugin, scores: Tensor, *, sparsity: float, parameters: Parameters
) -> int:
    """Return the number of weights that a sparsity removes, as the plug-in declares it."""
    size = scores.numel()
    if plugin.n_removed is None:
        return n_removed(sparsity, size)

    def check(number: object) -> int:
        if not isinstance(number, int) or not 0 <= number <= n_removed(sparsity, size):
            expected = f"a whole number from 0 to {n_removed(sparsity, size)}"
            raise call.error("n_removed of a plug-in is wrong", sparsity=sparsity, expected=expected, got=number)
        return number

    shape = (scores.shape[0], scores.shape[1])
    return call_checked(call, plugin.n_removed, (shape, sparsity, parameters), check=check, repeats=False)


def plugin_sparsities(configured: ConfiguredPlugin[SchedulePlugin], inputs: ScheduleInputs) -> tuple[float, ...]:
    """Return the sparsity of each layer. The plug-in is called twice, to compare the results.

    Raises:
        PluginError: the plug-in breaks the contract of schedules.
    """
    call = PluginCall("schedule", configured.plugin.name, configured.source)
    n_weights = [layer.n_weights for layer in inputs.layers]

    def check(result: object) -> tuple[float, ...]:
        expected = f"a list of {len(n_weights)} numbers"
        if not isinstance(result, list | tuple) or len(result) != len(n_weights):
            got = f"{len(result)} values" if isinstance(result, list | tuple) else type(result).__name__
            raise call.error("a plug-in returns no sparsity per layer", expected=expected, got=got)
        for layer, value in zip(inputs.layers, result, strict=True):
            if not isinstance(value, int | float) or not isfinite(value) or not 0 <= value < 1:
                context = {"block": layer.block, "layer": layer.layer, "expected": "a number in [0, 1)", "got": value}
                raise call.error("a sparsity of a plug-in is out of range", **context)
        mean = fsum(n * value for n, value in zip(n_weights, result, strict=True)) / sum(n_weights)
        if abs(mean - inputs.sparsity) > TOLERANCE:
            expected = f"{inputs.sparsity:g}, weighted by the number of weights"
            raise call.error("the mean sparsity of a plug-in is another one", expected=expected, got=round(mean, 6))
        return tuple(float(value) for value in result)

    arguments = (inputs, configured.typed_parameters)
    return call_checked(call, configured.plugin.function, arguments, check=check, repeats=True)


def plugin_refined_layer(
    configured: ConfiguredPlugin[RefinerPlugin],
    inputs: LayerInputs,
    keep: Tensor,
    *,
    structure: str,
    repeats: bool,
) -> RefinedLayer:
    """Return the refined mask of one layer, and its new weights.

    Args:
        keep: [out, in] bool, the mask of the score.
        structure: the comparison group, such as `row` or `2:4`.
        repeats: whether the plug-in is called twice, to compare the results.
    Raises:
        PluginError: the plug-in breaks the contract of refiners.
    """
    plugin = configured.plugin
    call = PluginCall("refiner", plugin.name, configured.source, inputs.block, inputs.layer)
    before = kept_counts(keep, structure)

    def check(result: object) -> RefinedLayer:
        if not isinstance(result, RefinedLayer):
            raise call.error("a plug-in returns no RefinedLayer", got=type(result).__name__)
        _check_tensor(call, "keep", result.keep, like=keep, dtype=torch.bool)
        if not torch.equal(counts := kept_counts(result.keep, structure), before):
            n_wrong = int((counts != before).sum())
            message = "a plug-in changes the sparsity of a comparison group"
            raise call.error(message, structure=structure, n_groups=n_wrong)
        if result.weight is not None:
            _check_weight(call, plugin, result.weight, keep=result.keep)
        if result.n_swaps is not None:
            _check_tensor(call, "n_swaps", result.n_swaps, like=keep[:, 0], dtype=torch.int32)
        return result

    arguments = (inputs, keep, structure, configured.typed_parameters)
    return call_checked(call, plugin.function, arguments, check=check, repeats=repeats)


def _check_weight(call: PluginCall, plugin: RefinerPlugin, weight: Tensor, *, keep: Tensor) -> None:
    if not plugin.changes_weights:
        raise call.error("a plug-in returns weights", expected="changes_weights=True, or weight=None")
    _check_tensor(call, "weight", weight, like=keep, dtype=torch.float32)
    if not bool(torch.isfinite(weight).all()):
        raise call.error("a weight is not finite", n_wrong=int((~torch.isfinite(weight)).sum()))
    if bool(weight.masked_select(~keep).any()):
        raise call.error("a removed weight is not 0", expected="0 where keep is False")


def _check_tensor(call: PluginCall, name: str, value: object, *, like: Tensor, dtype: torch.dtype) -> None:
    """Check the shape, dtype and device of a field of the result."""
    expected = tensor_text(like.shape, dtype, like.device)
    if not isinstance(value, Tensor):
        raise call.error(f"{name} is not a tensor", expected=expected, got=type(value).__name__)
    if (value.shape, value.dtype, value.device) != (like.shape, dtype, like.device):
        got = tensor_text(value.shape, value.dtype, value.device)
        raise call.error(f"{name} has another shape, dtype or device", expected=expected, got=got)
