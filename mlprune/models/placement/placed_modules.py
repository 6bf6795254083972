"""Place the modules of a shard: resident on a device, or on disk and loaded on demand.

Devices are chosen before anything is loaded. The parts of a model are numbered: `EMBEDDINGS`, the blocks from 0, and
the final norm with the head (the number of blocks).
"""

from collections.abc import Mapping

import torch
from torch import nn

from mlprune.models.block_ranges import EMBEDDINGS
from mlprune.models.families.records import Family
from mlprune.models.meta_model import MetaModel, shard_parameters
from mlprune.models.placement.budget import MemoryBudget, residency
from mlprune.models.placement.device_budget import ALL_DEVICES, DeviceBudget, DevicePlacement
from mlprune.models.placement.device_map import CPU, Devices, choose_devices, move_inputs
from mlprune.models.placement.memory_estimate import footprint
from mlprune.processes.parallel import n_threads


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
        modules = _shard_modules(meta_model.model, meta_model.family, blocks, n_blocks=n_blocks)
        devices, self.window = self._choose_devices(modules, budget, accelerators=accelerators)
        self.offloaded = self._load_resident(modules, devices)
        """Part -> names of its parameters, for the parts on disk."""
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

    def _choose_devices(
        self, modules: Mapping[str, nn.Module], budget: MemoryBudget | None, *, accelerators: DeviceBudget
    ) -> tuple[Devices, int]:
        """Choose the device of every module, and the number of offloaded blocks that may be in memory at once."""
        devices = choose_devices(modules, accelerators=accelerators)
        names = {f"{self._meta_model.family.blocks}.{block}": block for block in self._blocks}
        span = [block for name, block in names.items() if devices[name] == CPU]
        if budget is None or not span:
            return devices, 0
        sizes = self._placement(devices).left_over(footprint(self._meta_model.path, self._meta_model.dtype))
        plan = residency(sizes, span, budget.with_working(sizes, n_threads=n_threads()))
        if plan.window:
            largest = max(sizes.blocks[block] for block in span)
            on_cpu = {name: modules[name] for name, block in names.items() if block in span}
            devices |= choose_devices(on_cpu, cpu_bytes=plan.n_resident * largest)
            devices |= {name: None for name in modules if name not in names and devices[name] == CPU}
        return devices, plan.window

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
        model, family = self._meta_model.model, self._meta_model.family
        unclaimed = {name for name, _ in shard_parameters(model, family, self._blocks)}
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
        family = self._meta_model.family
        if module.startswith(f"{family.blocks}."):
            return int(module.rpartition(".")[2])
        return self._n_blocks if module in (family.final_norm, family.head) else EMBEDDINGS


def _shard_modules(model: nn.Module, family: Family, blocks: range, *, n_blocks: int) -> dict[str, nn.Module]:
    """Return the modules that a shard runs, in the order in which they run."""
    not_embeddings = (f"{family.blocks}.", f"{family.final_norm}.", f"{family.head}.")
    embeddings = {
        name: module
        for name, module in model.named_modules()
        if not f"{name}.".startswith(not_embeddings) and (module._parameters or module._buffers)
    }
    block_modules = {f"{family.blocks}.{block}": model.get_submodule(f"{family.blocks}.{block}") for block in blocks}
    head = {name: model.get_submodule(name) for name in (family.final_norm, family.head)}
    is_first, is_last = blocks.start == 0, blocks.stop == n_blocks
    return {**(embeddings if is_first else {}), **block_modules, **(head if is_last else {})}
