"""Tensors on a pretended GPU, and the dispatch mode that runs their operations on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple, NoReturn

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from tests.pretended_gpus.ledger import CPU, Ledger
from tests.pretended_gpus.memory import DeviceMemory
from tests.pretended_gpus.operands import (
    INDEXING,
    MOVES,
    WITHOUT_WORK,
    common_device,
    indexed_bytes,
    is_pinning,
    masks_in_index,
    reason_to_wait,
    resolved,
)


class Session:
    """The counters of the current context; outside of one, they count for nothing."""

    ledger = Ledger()
    memory = DeviceMemory([2**60] * 16)


class PretendedTensor(torch.Tensor):
    """A tensor that reports a CUDA device; `inner` has its values, on the CPU."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor, device: torch.device) -> PretendedTensor:
        """Wrap a tensor on the CPU.

        Raises:
            torch.OutOfMemoryError: the GPU has no room for it.
        """
        Session.memory.allocate(inner, device)
        with torch.inference_mode(False):  # a view of a parameter is not an inference tensor, even in inference mode
            made: PretendedTensor = torch.Tensor._make_wrapper_subclass(
                cls,
                inner.shape,
                strides=inner.stride(),
                storage_offset=inner.storage_offset(),
                dtype=inner.dtype,
                device=device,
                requires_grad=False,
            )
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})

    def __repr__(self, **_: Any) -> str:
        return f"PretendedTensor({tuple(self.shape)}, {self.dtype}, {self.device})"

    def tolist(self) -> Any:
        """Copy the values to the host."""
        Session.ledger.count_copy(self.inner.nbytes, self.device, CPU)
        return self.inner.tolist()

    def numpy(self, *_: Any, **__: Any) -> NoReturn:
        """Raise what CUDA tensors raise."""
        raise TypeError(f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() first.")

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        self.numpy()

    def data_ptr(self) -> NoReturn:
        """Raise: code that reads memory by its address would read that of the CPU."""
        raise RuntimeError("a tensor on a pretended GPU has no address")

    def __reduce_ex__(self, _protocol: Any) -> NoReturn:
        raise RuntimeError(f"a tensor on {self.device} is pickled: another process may not have this device")


class PretendingMode(TorchDispatchMode):
    """Runs operations that create a tensor on a pretended GPU without having one, such as `torch.zeros`."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return False, which saves the two seconds in which torch imports its compiler."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class NumberedDevices(TorchFunctionMode):
    """Makes `cuda` mean `cuda:0`, as it does with a driver that knows the current device."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.device:
            return func("cuda", args[0]) if isinstance(args[0], int) else func(*args, **(kwargs or {}))
        if func is torch.Tensor.cuda:
            return args[0].to(resolved((args[1:] or ("cuda",))[0]))
        options = {name: _numbered(value) for name, value in kwargs.items()} if kwargs else {}
        if isinstance(options.get("device"), int):
            options["device"] = resolved(options["device"])
        return func(*map(_numbered, args), **options)


def _numbered(value: Any) -> Any:
    return resolved(value) if isinstance(value, torch.device) or (isinstance(value, str) and value == "cuda") else value


class Signature(NamedTuple):
    """What a run needs to know of an operation; torch builds a new description at each access."""

    name: str
    arguments: tuple[str, ...]
    is_mutable: bool


@cache
def _signature(func: Any) -> Signature:
    schema = func._schema
    return Signature(schema.name, tuple(argument.name for argument in schema.arguments), schema.is_mutable)


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run an operation as its devices demand."""
    signature = _signature(func)
    name = signature.name
    tensors = list(_tensors_in((*args, *kwargs.values())))
    pretended = [tensor for tensor in tensors if isinstance(tensor, PretendedTensor)]
    if not pretended and "device" not in signature.arguments and not is_pinning(name):
        return func(*args, **kwargs)
    named = dict(zip(signature.arguments, args, strict=False)) | kwargs
    requested = None if named.get("device") is None else resolved(named["device"])
    if is_pinning(name):
        return False if name == "aten::is_pinned" else named["self"]
    if not pretended and (requested is None or requested.type != "cuda"):
        return func(*args, **kwargs)
    if name in MOVES:
        return _move(name, named, requested)
    device = requested or common_device(name, args, tensors)
    if requested is not None and tensors and not name.endswith("_like") and ".new_" not in name:
        common_device(name, args, tensors)
    if (reason := reason_to_wait(name)) and any(tensor.device.type == "cuda" for tensor in tensors):
        Session.ledger.count_wait(reason)
    if name in INDEXING:
        _count_indexing(name, args)
    inner_kwargs = {key: _mapped(value, _inner) for key, value in kwargs.items()}
    if requested is not None:
        inner_kwargs["device"] = CPU
    output = func(*_mapped(args, _inner), **inner_kwargs)
    Session.ledger.count_operation(name, starts_work=_starts_work(signature, output, pretended))
    owners = {id(tensor.inner): tensor for tensor in pretended}
    for tensor in pretended if signature.is_mutable else ():
        assert tensor.shape == tensor.inner.shape, f"{name} changed the shape of a tensor in place: not pretended"
    if device.type != "cuda":
        return output
    return _mapped(output, lambda made: owners[id(made)] if id(made) in owners else PretendedTensor(made, device))


def _tensors_in(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors_in(item)


def _mapped(value: Any, function: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """Return the arguments or the output of an operation with every tensor replaced."""
    if isinstance(value, torch.Tensor):
        return function(value)
    return type(value)(_mapped(item, function) for item in value) if type(value) in (list, tuple) else value


def _inner(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.inner if isinstance(tensor, PretendedTensor) else tensor


def _move(name: str, named: dict[str, Any], requested: torch.device | None) -> Any:
    """Copy a tensor to a device or a dtype, or both; return the tensor itself where there is nothing to do."""
    own, other = named["self"], named.get("other", named.get("src"))
    waits = not named.get("non_blocking", False)
    if name in ("aten::copy_", "aten::copy"):
        Session.ledger.count_operation(name, starts_work=True)
        Session.ledger.count_copy(_size(other), other.device, own.device, waits=waits)
        _inner(own).copy_(_inner(other))
        return own
    target = requested or (other if isinstance(other, torch.Tensor) else own).device
    dtype = named.get("dtype") or (other if isinstance(other, torch.Tensor) else own).dtype
    is_copy = bool(named.get("copy")) or name == "aten::_to_copy" or target != own.device
    memory_format = named.get("memory_format")
    options = {} if memory_format is None else {"memory_format": memory_format}
    copied = _inner(own).to(dtype=dtype, copy=is_copy, **options)
    Session.ledger.count_operation(name, starts_work=copied is not _inner(own))
    if copied is _inner(own):
        return own
    Session.ledger.count_copy(_size(own), own.device, target, waits=waits)
    return copied if target.type != "cuda" else PretendedTensor(copied, target)


def _size(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _count_indexing(name: str, args: Any) -> None:
    """Count the indices that come from the host, and the wait for the number of entries of a mask."""
    own, indices = args[0], args[1]
    if own.device.type != "cuda":
        return
    Session.ledger.count_copy(indexed_bytes(indices), CPU, own.device) if indexed_bytes(indices) else None
    if masks_in_index(name, args):
        Session.ledger.count_wait(f"{name} by a mask")


def _starts_work(signature: Signature, output: Any, pretended: list[PretendedTensor]) -> bool:
    """Whether an operation did more than look at its operands in another way."""
    if signature.name in WITHOUT_WORK:
        return False
    if signature.is_mutable:
        return True
    outputs = list(_tensors_in(output))
    if not outputs:
        return reason_to_wait(signature.name) is not None
    shared = {tensor.inner.untyped_storage()._cdata for tensor in pretended}
    return any(tensor.untyped_storage()._cdata not in shared for tensor in outputs)
