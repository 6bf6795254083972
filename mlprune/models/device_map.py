"""Placement: which device of a process holds which module of its shard.

Places are chosen by accelerate from sizes on the meta device, before anything is loaded: accelerators first, in their
order, then the CPU up to a budget, then the disk. Masks change weights in place, so every weight has one home. A module
on the disk is read when it is needed and runs on the CPU.
"""

import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch
from accelerate import infer_auto_device_map
from accelerate.utils import get_max_memory, send_to_device
from torch import nn

CPU = torch.device("cpu")


Homes = dict[str, torch.device | None]
"""Name of a module -> its device, None where it is to be on the disk."""


def device_for(
    modules: Mapping[str, nn.Module], *, cpu_bytes: int | None = None, with_accelerators: bool = True
) -> Homes:
    """Choose a device for each module of a shard, in their order; no module is split over two.

    Accelerators come first, in their order, then the CPU, then the disk.

    Args:
        modules: name -> module; weights may be on the meta device.
        cpu_bytes: what the modules on the CPU may take; as much as they want by default.
        with_accelerators: use those that this process sees.
    """
    with_accelerators = with_accelerators and torch.cuda.is_available()
    if cpu_bytes is None and not with_accelerators:
        return dict.fromkeys(modules, CPU)
    keys = {name: f"{position:04d}" for position, name in enumerate(modules)}
    container = nn.ModuleDict({keys[name]: module for name, module in modules.items()})
    accelerators = {device: size for device, size in get_max_memory().items() if device != "cpu" and with_accelerators}
    # accelerate leaves room on the CPU for the largest module still to be placed; here that has room of its own
    largest = max(map(_size_of, modules.values()), default=0)
    container["last"] = _Sized(largest)
    placed = infer_auto_device_map(
        container,
        max_memory={**accelerators, "cpu": sys.maxsize if cpu_bytes is None else cpu_bytes + largest},
        no_split_module_classes=sorted({type(module).__name__ for module in container.values()}),
        clean_result=False,
    )
    return {name: _home(placed, key) for name, key in keys.items()}


def bring_inputs(modules: Mapping[str, nn.Module], homes: Homes) -> None:
    """Have the inputs of each module brought to its device, and its buffers; nothing happens on a CPU alone."""
    if all(home in (CPU, None) for home in homes.values()):
        return
    for name, home in homes.items():
        device = home or CPU
        for module in modules[name].modules():
            for key, buffer in module._buffers.items():
                module._buffers[key] = None if buffer is None else buffer.to(device)
        modules[name].register_forward_pre_hook(_bring_inputs_to(device), with_kwargs=True)


def _bring_inputs_to(device: torch.device) -> Callable[[nn.Module, Any, Any], tuple[Any, Any]]:
    def hook(_module: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
        return send_to_device(args, device), send_to_device(kwargs, device)

    return hook


class _Sized(nn.Module):
    """Stands for so many bytes."""

    def __init__(self, n_bytes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_bytes, dtype=torch.uint8, device="meta"), requires_grad=False)


def _size_of(module: nn.Module) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in (*module.parameters(), *module.buffers()))


def _home(placed: Mapping[str, int | str], key: str) -> torch.device | None:
    """Where a module goes; one without tensors has no place of its own and stays on the CPU."""
    home = next((home for name, home in placed.items() if name.split(".")[0] == key), "cpu")
    return None if home == "disk" else torch.device(home)
