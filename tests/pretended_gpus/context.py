"""Context in which this process has pretended GPUs, and the functions of torch and accelerate that are replaced."""

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

import accelerate
import accelerate.utils
import pytest
import torch

import mlprune.models.placement.placed_modules  # noqa: F401 - must be imported with the functions that are replaced
from mlprune.processes.parallel import n_threads, set_worker_threads
from tests.pretended_gpus.ledger import Ledger
from tests.pretended_gpus.memory import DeviceMemory
from tests.pretended_gpus.tensor import NumberedDevices, PretendingMode, Session
from tests.pretended_gpus.torch_symbols import allow_cuda_devices, missing_symbol

HOST_BYTES = 2**40


@contextmanager
def pretended_gpus(n: int = 1, *, free_bytes: int | Sequence[int] = 10**9) -> Iterator[Ledger]:
    """Give this process pretended GPUs, and count what it does with them.

    Args:
        n: number of GPUs; with a sequence of `free_bytes`, its length counts.
        free_bytes: free memory of each GPU, or of all.
    """
    if symbol := missing_symbol():
        pytest.skip(f"torch {torch.__version__} has no {symbol}, which pretended GPUs need")
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU, whose driver knows the real devices only: set CUDA_VISIBLE_DEVICES=''")
    allow_cuda_devices()
    sizes = (free_bytes,) * n if isinstance(free_bytes, int) else tuple(free_bytes)
    memory, ledger = DeviceMemory(sizes), Ledger()
    lifts_cpu_only = torch._C._only_lift_cpu_tensors()
    with ExitStack() as stack:
        for owner, name, value in _replacements(memory):
            stack.enter_context(mock.patch.object(owner, name, value))
        stack.enter_context(mock.patch.object(Session, "ledger", ledger))
        stack.enter_context(mock.patch.object(Session, "memory", memory))
        torch._C._set_only_lift_cpu_tensors(True)
        stack.callback(torch._C._set_only_lift_cpu_tensors, lifts_cpu_only)
        stack.enter_context(PretendingMode())
        stack.enter_context(NumberedDevices())
        if n_threads() > 1:  # threads that an earlier test left do not see the GPUs
            stack.callback(set_worker_threads, n_threads())
            set_worker_threads(1)
        yield ledger


def _replacements(memory: DeviceMemory) -> Iterator[tuple[Any, str, Any]]:
    """Yield (owner, name, value) of everything that is replaced while the context lasts."""
    yield from ((torch.cuda, name, value) for name, value in _cuda_functions(memory).items())
    for original, value in _accelerate_functions(memory).items():
        owners = [module for name, module in sys.modules.items() if name.startswith(("mlprune.", "accelerate"))]
        for owner in owners:
            if vars(owner).get(original.__name__) is original:
                yield owner, original.__name__, value
    yield threading.Thread, "run", _run_thread


def _cuda_functions(memory: DeviceMemory) -> dict[str, Callable[..., Any]]:
    def free_and_total(device: Any = 0) -> tuple[int, int]:
        index = _index(device)
        return memory.free_bytes[index] - memory.allocated(index), memory.free_bytes[index]

    def properties(device: Any = 0) -> SimpleNamespace:
        return SimpleNamespace(
            name=f"pretended {_index(device)}", total_memory=free_and_total(device)[1], major=8, minor=0
        )

    return {
        "is_available": lambda: True,
        "device_count": lambda: len(memory.free_bytes),
        "current_device": lambda: 0,
        "mem_get_info": free_and_total,
        "memory_allocated": lambda device=0: memory.allocated(_index(device)),
        "max_memory_allocated": lambda device=0: memory.peak(_index(device)),
        "max_memory_reserved": lambda device=0: memory.peak(_index(device)),
        "reset_peak_memory_stats": lambda device=0: memory.reset_peak(_index(device)),
        "get_device_name": lambda device=0: f"pretended {_index(device)}",
        "get_device_properties": properties,
        "get_device_capability": lambda device=0: (8, 0),
        "is_bf16_supported": lambda *_, **__: True,
        "empty_cache": lambda: None,
        "synchronize": lambda device=0: Session.ledger.count_wait("synchronize"),
        "_lazy_init": lambda: None,
    }


def _accelerate_functions(memory: DeviceMemory) -> dict[Callable[..., Any], Callable[..., Any]]:
    """Return original -> replacement.

    `torch.device(0)` is not a CUDA device in a build without CUDA, so names replace the numbers of GPUs.
    """
    infer, get_max = accelerate.infer_auto_device_map, accelerate.utils.get_max_memory

    def device_map(*args: Any, **kwargs: Any) -> dict[str, Any]:
        found = infer(*args, **kwargs)
        return {name: f"cuda:{device}" if isinstance(device, int) else device for name, device in found.items()}

    def max_memory(limits: dict[Any, Any] | None = None) -> dict[Any, Any]:
        free = {index: torch.cuda.mem_get_info(index)[0] for index in range(len(memory.free_bytes))}
        return {**free, "cpu": HOST_BYTES} if limits is None else get_max(limits)

    return {infer: device_map, get_max: max_memory}


def _index(device: Any) -> int:
    if device is None or isinstance(device, int):
        return device or 0
    return torch.device(device).index or 0


_original_run = threading.Thread.run


def _run_thread(thread: threading.Thread) -> None:
    """Run a thread that starts while the context lasts; dispatch modes belong to one thread."""
    with PretendingMode(), NumberedDevices():
        _original_run(thread)
