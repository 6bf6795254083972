"""Device map: choose a device for each module of a shard.

accelerate chooses devices from sizes on the meta device, before anything is loaded: accelerators first, in their order
and up to their budget, then the CPU up to a budget, then the disk. Masks change weights in place, so every weight is on
exactly one device. A module on disk is read when it is needed and runs on the CPU.
"""

import sys
from collections.abc import Callable, Mapping

import torch
from accelerate import infer_auto_device_map
from accelerate.utils import send_to_device
from torch import nn

from mlprune.models.placement.device_budget import NO_DEVICES, DeviceBudget, DeviceMemory

CPU = torch.device("cpu")


Devices = dict[str, torch.device | None]
"""Name of a module -> its device; None for the disk."""


def choose_devices(
    modules: Mapping[str, nn.Module], *, cpu_bytes: int | None = None, accelerators: DeviceBudget = NO_DEVICES
) -> Devices:
    """Choose a device for each module of a shard, in order; no module is split over two devices.

    Accelerators come first, in their order, then the CPU, then the disk. Modules that share a parameter are on the same
    device, and the parameter is counted once.

    Args:
        modules: name -> module; weights may be on the meta device.
        cpu_bytes: memory for the modules on the CPU; unlimited by default.
        accelerators: budget of the accelerators; by default none is used.
    """
    sizes = {id(tensor): tensor.nbytes for module in modules.values() for tensor in _tensors_of(module)}
    memory = accelerator_memory(accelerators)
    rooms = accelerators.weight_rooms(memory, weight_bytes=sum(sizes.values()))
    if cpu_bytes is None and not any(rooms):
        return dict.fromkeys(modules, CPU)
    keys = {name: f"{position:04d}" for position, name in enumerate(modules)}
    container = nn.ModuleDict({keys[name]: module for name, module in modules.items()})
    # accelerate keeps room on the first accelerator and on the CPU for the largest remaining module, which would be
    # moved there to run; here every module runs where it is
    largest = max((sum(tensor.nbytes for tensor in _tensors_of(module)) for module in modules.values()), default=0)
    container["last"] = _Sized(largest)
    max_memory: dict[int | str, int] = dict(enumerate(rooms))
    if rooms:
        max_memory[0] += largest
    max_memory["cpu"] = sys.maxsize if cpu_bytes is None else cpu_bytes + largest
    device_map = infer_auto_device_map(
        container,
        max_memory=max_memory,
        no_split_module_classes=sorted({type(module).__name__ for module in container.values()}),
        clean_result=False,
    )
    return {name: _device_of(device_map, key) for name, key in keys.items()}


def accelerator_memory(budget: DeviceBudget) -> list[DeviceMemory]:
    """Measure the accelerators that a budget uses, and no other: measuring one takes some of its memory."""
    if budget.n_devices == 0 or not torch.cuda.is_available():
        return []
    n_used = budget.n_used(torch.cuda.device_count())
    return [DeviceMemory(*torch.cuda.mem_get_info(number)) for number in range(n_used)]


def move_inputs(modules: Mapping[str, nn.Module], devices: Devices) -> None:
    """Make each module move its inputs to its device before it runs, and move its buffers now; no effect on the CPU."""
    if all(device in (CPU, None) for device in devices.values()):
        return
    for name, target in devices.items():
        device = target or CPU
        for module in modules[name].modules():
            for key, buffer in module._buffers.items():
                module._buffers[key] = None if buffer is None else buffer.to(device)
        modules[name].register_forward_pre_hook(_move_inputs_to(device), with_kwargs=True)


Args = tuple[object, ...]
Kwargs = dict[str, object]


def _move_inputs_to(device: torch.device) -> Callable[[nn.Module, Args, Kwargs], tuple[Args, Kwargs]]:
    def hook(_module: nn.Module, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs]:
        return send_to_device(args, device), send_to_device(kwargs, device)

    return hook


class _Sized(nn.Module):
    """A module of a given size in bytes."""

    def __init__(self, n_bytes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_bytes, dtype=torch.uint8, device="meta"), requires_grad=False)


def _tensors_of(module: nn.Module) -> tuple[torch.Tensor, ...]:
    return (*module.parameters(), *module.buffers())


def _device_of(device_map: Mapping[str, int | str], key: str) -> torch.device | None:
    """Return the device of a module. Modules without tensors are not in the map and stay on the CPU."""
    device = next((device for name, device in device_map.items() if name.split(".")[0] == key), "cpu")
    if device == "disk":
        return None
    return torch.device(f"cuda:{device}" if isinstance(device, int) else device)
