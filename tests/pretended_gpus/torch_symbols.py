"""Private symbols of torch that pretended GPUs need, and the device guard that a build without CUDA lacks."""

import ctypes
from pathlib import Path

import torch

_GUARDS = "_ZN3c104impl26device_guard_impl_registryE"
"""Table of device guards: device type -> guard, in c10/core/impl/DeviceGuardImplInterface.h."""
_CUDA, _META = 1, 14
"""Positions in the table, from c10/core/DeviceType.h."""
_SYMBOLS = (
    (torch.Tensor, "_make_wrapper_subclass"),
    (torch._C, "_ensureCUDADeviceGuardSet"),
    (torch._C, "_only_lift_cpu_tensors"),
    (torch._C, "_set_only_lift_cpu_tensors"),
)


def missing_symbol() -> str | None:
    """Return the first private symbol that this version of torch does not have; None if it has all."""
    for owner, name in _SYMBOLS:
        if not hasattr(owner, name):
            return f"{getattr(owner, '__qualname__', owner.__name__)}.{name}"
    try:
        _guards()
    except (OSError, ValueError):
        return f"libc10.so:{_GUARDS}"
    return None


def allow_cuda_devices() -> None:
    """Give CUDA the device guard of the meta device, which does nothing, in a build without a guard for CUDA.

    Indexing, `int()` and others ask for the guard before they dispatch.
    """
    torch._C._ensureCUDADeviceGuardSet()  # a build with CUDA on a machine without a GPU
    guards = _guards()
    if not guards[_CUDA]:
        guards[_CUDA] = guards[_META]


def _guards() -> "ctypes.Array[ctypes.c_void_p]":
    library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libc10.so"))
    return (ctypes.c_void_p * (_META + 1)).in_dll(library, _GUARDS)
