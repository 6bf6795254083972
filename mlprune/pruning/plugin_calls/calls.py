"""Call the function of a plug-in: errors name the plug-in, and its arguments have to stay as they are.

Every call notices operations of torch that change an argument. A repeated call also compares the arguments with copies,
which notices changes through NumPy, and its two results with each other.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import TypeVar

import torch
from torch import Tensor

from mlprune.errors import OutOfMemoryError, PluginError, reason_of
from mlprune.methods.plugins import PluginKind, PluginSource

Result = TypeVar("Result")

_ALLOCATOR_MESSAGES = (
    "allocate memory",
    "not enough memory",
    "out of memory",
    "bad_alloc",
    "status_alloc_failed",  # cuBLAS, cuSOLVER and cuDNN
    "cublas_status_not_initialized",
)
"""Messages of allocators inside errors of general types; lower case."""


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
