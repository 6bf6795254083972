"""Place the modules of a shard: a device for each, or disk and loading in the order in which they run.

Device map: choose a device for each module of a shard.

accelerate chooses devices from sizes on the meta device, before anything is loaded: accelerators first, in their order
and up to their budget, then the CPU up to a budget, then the disk. Masks change weights in place, so every weight is on
exactly one device. A module on disk is read when it is needed and runs on the CPU.

Place the modules of a shard: resident on a device, or on disk and loaded on demand.

Devices are chosen before anything is loaded. The parts of a model are numbered: `EMBEDDINGS`, the blocks from 0, and
the final norm with the head (the number of blocks).
"""

import sys
from collections.abc import Callable, Mapping
from functools import partial

import torch
from accelerate import infer_auto_device_map
from accelerate.utils import send_to_device
from torch import nn

from mlprune.models.architecture.architecture import Architecture, BlockArchitecture, Experts
from mlprune.models.block_ranges import EMBEDDINGS
from mlprune.models.meta_model import MetaModel, shard_parameters
from mlprune.models.placement.budget import (
    ALL_DEVICES,
    NO_DEVICES,
    DeviceBudget,
    DeviceMemory,
    DevicePlacement,
    MemoryBudget,
    Residency,
    residency,
)
from mlprune.models.placement.expert_stream import ExpertStream
from mlprune.models.placement.memory_estimate import footprint
from mlprune.processes.parallel import n_threads

CPU = torch.device("cpu")
Devices = dict[str, torch.device | None]
"""Name of a module -> its device; None for the disk."""
Args = tuple[object, ...]
Kwargs = dict[str, object]


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


class PlacedModules:
    """The modules that a shard runs. Creating this object loads the modules that stay in memory.

    Args:
        meta_model: the model, without weights.
        blocks: blocks of the shard.
        n_blocks: number of blocks of the model.
        budget: memory of the process; by default all modules stay in memory.
        accelerators: what the process may use of its accelerators; by default all of each.
    Raises:
        ModelError: a tensor is missing or has the wrong shape, or the budget has no room for one block.
    """

    def __init__(
        self,
        meta_model: MetaModel,
        blocks: range,
        *,
        n_blocks: int,
        budget: MemoryBudget | None = None,
        accelerators: DeviceBudget = ALL_DEVICES,
    ) -> None:
        self._meta_model = meta_model
        self._blocks = blocks
        self._n_blocks = n_blocks
        modules = _shard_modules(meta_model.model, meta_model.architecture, blocks, n_blocks=n_blocks)
        devices, plan = self._choose_devices(modules, budget, accelerators=accelerators)
        self.window = plan.window
        self.offloaded = self._load_resident(modules, devices)
        """Part -> names of its parameters, for the parts on disk."""
        self._slots = min(n_threads(), plan.n_experts or 0)
        self._first_streamed = (plan.n_experts or 0) - self._slots
        self._streamed = self._split_experts() if plan.n_experts is not None else {}
        """Block -> expert -> names of its parameters, for the experts that are read when they run."""
        self.first_device = next((devices[name] for name in modules if meta_model.names_in(name)), None) or CPU
        """Device of the shard's first module."""

    def read(self, part: int) -> None:
        """Load a part from disk, dense: a block as a copy, embeddings and head mapped from the file.

        Raises:
            ModelError: the checkpoint no longer has it.
        """
        with torch.inference_mode(False):
            self._meta_model.load(self.offloaded[part], copies=part in self._blocks)

    def drop(self, part: int) -> None:
        """Free a part that was loaded from disk."""
        self._meta_model.drop(self.offloaded[part])

    @property
    def streams_experts(self) -> bool:
        """Whether a block is in memory without some of its experts."""
        return bool(self._streamed)

    def resident_layers(self, block: int) -> tuple[str, ...]:
        """Return the layers of a block that are in memory while it runs."""
        kind = self._meta_model.architecture.block(block)
        streamed = {layer for expert in self._streamed.get(block, ()) for layer in _experts_of(kind).layers(expert)}
        return tuple(layer for layer in kind.layers if layer not in streamed)

    def stream_experts(self, restore: Callable[[int, tuple[str, ...]], None]) -> None:
        """Let the experts that do not stay in memory be read when they run.

        Args:
            restore: applies the changes of layers of a block to their dense weights, which were just loaded.
        """

        def load(block: int, expert: int) -> None:
            with torch.inference_mode(False):
                self._meta_model.load(self._streamed[block][expert], copies=True)
                restore(block, _experts_of(self._meta_model.architecture.block(block)).layers(expert))

        def drop(block: int, expert: int) -> None:
            self._meta_model.drop(self._streamed[block][expert])

        for block in self._streamed:
            stream = ExpertStream(
                partial(load, block), partial(drop, block), first=self._first_streamed, n_together=self._slots
            )
            vars(self._meta_model.model.get_submodule(self._experts_path(block)))["stream"] = stream

    def _split_experts(self) -> dict[int, dict[int, list[str]]]:
        """Take the experts that do not stay in memory out of the blocks on disk."""
        streamed: dict[int, dict[int, list[str]]] = {}
        for block, experts in self._meta_model.architecture.experts.items():
            if block in self.offloaded and block in self._blocks:
                path, first = self._experts_path(block), self._first_streamed
                names = {number: self._meta_model.names_in(f"{path}.{number}") for number in range(experts.n_experts)}
                streamed[block] = {number: of_expert for number, of_expert in names.items() if number >= first}
                gone = {name for of_expert in streamed[block].values() for name in of_expert}
                self.offloaded[block] = [name for name in self.offloaded[block] if name not in gone]
        return streamed

    def _experts_path(self, block: int) -> str:
        architecture = self._meta_model.architecture
        return f"{architecture.blocks}.{block}.{_experts_of(architecture.block(block)).path}"

    def _choose_devices(
        self, modules: Mapping[str, nn.Module], budget: MemoryBudget | None, *, accelerators: DeviceBudget
    ) -> tuple[Devices, Residency]:
        """Choose the device of every module, and what of the offloaded blocks may be in memory at once."""
        devices = choose_devices(modules, accelerators=accelerators)
        names = {f"{self._meta_model.architecture.blocks}.{block}": block for block in self._blocks}
        span = [block for name, block in names.items() if devices[name] == CPU]
        if budget is None or not span:
            return devices, Residency(len(span), 0)
        sizes = self._placement(devices).left_over(footprint(self._meta_model.path, self._meta_model.dtype))
        plan = residency(sizes, span, budget.with_working(sizes, n_threads=n_threads()))
        if plan.window:
            largest = max(sizes.blocks[block] for block in span)
            on_cpu = {name: modules[name] for name, block in names.items() if block in span}
            devices |= choose_devices(on_cpu, cpu_bytes=plan.n_resident * largest)
            devices |= {name: None for name in modules if name not in names and devices[name] == CPU}
        return devices, plan

    def _placement(self, devices: Devices) -> DevicePlacement:
        """Describe the parts that are on accelerators."""
        on_host: dict[int, bool] = {}
        for name, device in devices.items():
            part = self._part_of(name)
            on_host[part] = on_host.get(part, False) or device in (CPU, None)
        is_placed = {part for part, is_on_host in on_host.items() if not is_on_host}
        return DevicePlacement(
            n_blocks=len(is_placed.intersection(self._blocks)),
            has_embeddings=EMBEDDINGS in is_placed,
            has_head=self._n_blocks in is_placed,
        )

    def _load_resident(self, modules: Mapping[str, nn.Module], devices: Devices) -> dict[int, list[str]]:
        """Load the modules that stay in memory, except a token embedding on the CPU.

        Returns: part -> names of its parameters, for the parts on disk.
        """
        by_device: dict[torch.device, list[str]] = {}
        offloaded: dict[int, list[str]] = {}
        model, architecture = self._meta_model.model, self._meta_model.architecture
        unclaimed = {name for name, _ in shard_parameters(model, architecture, self._blocks)}
        for module in modules:
            if devices[module] in (CPU, None):
                unclaimed.difference_update(self._meta_model.keep_embedding_on_disk(module))
        for module in sorted(modules, key=len, reverse=True):
            names = [name for name in self._meta_model.names_in(module) if name in unclaimed]
            unclaimed.difference_update(names)
            device = devices[module]
            if device is not None:
                by_device.setdefault(device, []).extend(names)
            elif names:
                offloaded.setdefault(self._part_of(module), []).extend(names)
        for device, names in by_device.items():
            self._meta_model.load(names, device=None if device == CPU else device)
        move_inputs(modules, devices)
        return offloaded

    def _part_of(self, module: str) -> int:
        """Return the part that a module of the shard belongs to."""
        architecture = self._meta_model.architecture
        if module.startswith(f"{architecture.blocks}."):
            return int(module.rpartition(".")[2])
        return self._n_blocks if module in architecture.after_blocks else EMBEDDINGS


def _experts_of(kind: BlockArchitecture) -> Experts:
    assert kind.experts is not None, "the block has experts"
    return kind.experts


def _shard_modules(
    model: nn.Module, architecture: Architecture, blocks: range, *, n_blocks: int
) -> dict[str, nn.Module]:
    """Return the modules that a shard runs, in the order in which they run."""
    not_embeddings = tuple(f"{path}." for path in (architecture.blocks, *architecture.after_blocks))
    embeddings = {
        name: module
        for name, module in model.named_modules()
        if not f"{name}.".startswith(not_embeddings) and (module._parameters or module._buffers)
    }
    block_modules = {
        f"{architecture.blocks}.{block}": model.get_submodule(f"{architecture.blocks}.{block}") for block in blocks
    }
    head = {name: model.get_submodule(name) for name in architecture.after_blocks}
    is_first, is_last = blocks.start == 0, blocks.stop == n_blocks
    return {**(embeddings if is_first else {}), **block_modules, **(head if is_last else {})}
