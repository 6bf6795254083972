"""Where the modules of a shard are at home: loaded to their devices once, or left on the disk to take turns in memory.

Places are chosen before anything is loaded (`footprint`, `device_map`). Parts of a model are numbered: its blocks, what
stands before them (-1), and what stands behind them (as many as there are blocks). Whose turn it is, is `turns`'.
"""

from collections.abc import Mapping

import torch
from torch import nn

from mlprune.models.device_map import CPU, Homes, bring_inputs, device_for
from mlprune.models.families.records import Family
from mlprune.models.meta_model import MetaModel, own_tensors
from mlprune.models.placement.memory_estimate import footprint, residency
from mlprune.models.placement.memory_estimate import working_bytes as default_working_bytes
from mlprune.parallel import n_threads

BEFORE = -1
"""What stands before the blocks, as a part of the model."""


class PlacedModules:
    """The modules that the shard of some blocks runs, all that stays of them loaded.

    Args:
        parts: the model.
        blocks: of the shard.
        n_blocks: of the model.
        memory_bytes: of the process; as much as the shard takes by default.
        working_bytes: what the process needs of it beside its base and the weights; worked out if not given.
    Raises:
        ModelError: a tensor is missing or has the wrong shape, or the memory has no room for one block.
    """

    def __init__(
        self,
        parts: MetaModel,
        blocks: range,
        *,
        n_blocks: int,
        memory_bytes: int | None = None,
        working_bytes: int | None = None,
    ) -> None:
        self._parts = parts
        self._blocks = blocks
        self._n_blocks = n_blocks
        own = _own_modules(parts.model, parts.family, blocks, n_blocks=n_blocks)
        homes, self.window = self._homes(own, memory_bytes, working_bytes)
        self.in_turns = self._settled(own, homes)
        """Part -> its parameters, of the parts that take turns."""
        self.first_device = next((homes[name] for name in own if parts.names_in(name)), None) or CPU
        """Where the shard's first module is run."""

    def read(self, part: int) -> None:
        """Bring a part that takes turns to memory, dense: a block as a copy, an end of the model where it is mapped.

        Raises:
            ModelError: the checkpoint no longer holds it.
        """
        with torch.inference_mode(False):
            self._parts.fill(self.in_turns[part], copies=part in self._blocks)

    def drop(self, part: int) -> None:
        """Let a part that takes turns go."""
        self._parts.empty(self.in_turns[part])

    def _homes(
        self, own: Mapping[str, nn.Module], memory_bytes: int | None, working_bytes: int | None
    ) -> tuple[Homes, int]:
        """Where every module is at home, and how many of the parts on the disk may be in memory at once."""
        homes = device_for(own)
        names = {f"{self._parts.family.blocks}.{block}": block for block in self._blocks}
        span = [block for name, block in names.items() if homes[name] == CPU]
        if memory_bytes is None or not span:
            return homes, 0
        sizes = footprint(self._parts.path, self._parts.dtype)
        if working_bytes is None:
            working_bytes = default_working_bytes(sizes, n_threads=n_threads())
        kept = residency(sizes, span, memory_bytes, working_bytes=working_bytes)
        if kept.window:
            largest = max(sizes.blocks[block] for block in span)
            on_cpu = {name: own[name] for name, block in names.items() if block in span}
            homes |= device_for(on_cpu, cpu_bytes=kept.n_staying * largest, with_accelerators=False)
            homes |= {name: None for name in own if name not in names and homes[name] == CPU}
        return homes, kept.window

    def _settled(self, own: Mapping[str, nn.Module], homes: Homes) -> dict[int, list[str]]:
        """Load what stays; the token embedding of a CPU is never loaded.

        Returns: part -> its parameters, of the parts that take turns.
        """
        by_device: dict[torch.device, list[str]] = {}
        in_turns: dict[int, list[str]] = {}
        unclaimed = {name for name, _ in own_tensors(self._parts.model, self._parts.family, self._blocks)}
        for module in own:
            if homes[module] in (CPU, None):
                unclaimed.difference_update(self._parts.leave_rows(module))
        for module in sorted(own, key=len, reverse=True):
            names = [name for name in self._parts.names_in(module) if name in unclaimed]
            unclaimed.difference_update(names)
            home = homes[module]
            if home is not None:
                by_device.setdefault(home, []).extend(names)
            elif names:
                in_turns.setdefault(self._part_of(module), []).extend(names)
        for device, names in by_device.items():
            self._parts.fill(names, device=None if device == CPU else device)
        bring_inputs(own, homes)
        return in_turns

    def _part_of(self, module: str) -> int:
        """The part that a module of the shard belongs to."""
        family = self._parts.family
        if module.startswith(f"{family.blocks}."):
            return int(module.rpartition(".")[2])
        return self._n_blocks if module in (family.final_norm, family.head) else BEFORE


def _own_modules(model: nn.Module, family: Family, blocks: range, *, n_blocks: int) -> dict[str, nn.Module]:
    """The modules a shard runs, in the order in which they run."""
    elsewhere = (f"{family.blocks}.", f"{family.final_norm}.", f"{family.head}.")
    embeds = {
        name: module
        for name, module in model.named_modules()
        if not f"{name}.".startswith(elsewhere) and (module._parameters or module._buffers)
    }
    own = {f"{family.blocks}.{block}": model.get_submodule(f"{family.blocks}.{block}") for block in blocks}
    ends = {name: model.get_submodule(name) for name in (family.final_norm, family.head)}
    is_first, is_last = blocks.start == 0, blocks.stop == n_blocks
    return {**(embeds if is_first else {}), **own, **(ends if is_last else {})}
