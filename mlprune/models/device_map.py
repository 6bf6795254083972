"""Placement: which shard holds which blocks, and which device of a process holds which module of its shard.

Without an accelerator everything stays on the CPU. With some, accelerate fills them in order and leaves the rest on the
CPU, where it is also run: masks change weights in place, so every weight has one home.
"""

import sys
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import torch
from accelerate import infer_auto_device_map
from accelerate.utils import get_max_memory, send_to_device
from torch import nn

from mlprune.errors import ModelError

CPU = torch.device("cpu")


def plan_spans(n_blocks: int, n_shards: int) -> tuple[range, ...]:
    """Cut the blocks into consecutive spans whose lengths differ by one at most, the longer ones first.

    Raises:
        ModelError: there are no shards, or more shards than blocks.
    """
    if not 1 <= n_shards <= n_blocks:
        raise ModelError("a model cannot be cut that way", expected=f"1 to {n_blocks} shards", got=n_shards)
    length, n_longer = divmod(n_blocks, n_shards)
    starts = [shard * length + min(shard, n_longer) for shard in range(n_shards + 1)]
    return tuple(range(start, stop) for start, stop in pairwise(starts))


def device_for(modules: Mapping[str, nn.Module]) -> dict[str, torch.device]:
    """Choose a device for each module of a shard, in their order; no module is split over two.

    Args:
        modules: name -> module, weights loaded on the CPU: what no accelerator has room for can always stay there.
    """
    if not torch.cuda.is_available():
        return dict.fromkeys(modules, CPU)
    keys = {name: f"{position:04d}" for position, name in enumerate(modules)}
    container = nn.ModuleDict({keys[name]: module for name, module in modules.items()})
    placed = infer_auto_device_map(
        container,
        max_memory={**get_max_memory(), "cpu": sys.maxsize},
        no_split_module_classes=sorted({type(module).__name__ for module in modules.values()}),
        clean_result=False,
    )
    return {name: torch.device(_home(placed, key)) for name, key in keys.items()}


def place(modules: Mapping[str, nn.Module]) -> None:
    """Move each module of a shard to its device and have its inputs brought there; nothing happens on a CPU alone."""
    homes = device_for(modules)
    if all(home == CPU for home in homes.values()):
        return
    for name, device in homes.items():
        modules[name].to(device)
        modules[name].register_forward_pre_hook(_bring_inputs_to(device), with_kwargs=True)


def _bring_inputs_to(device: torch.device) -> Callable[[nn.Module, Any, Any], tuple[Any, Any]]:
    def hook(_module: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
        return send_to_device(args, device), send_to_device(kwargs, device)

    return hook


def _home(placed: Mapping[str, int | str], key: str) -> int | str:
    """The device of a module; one without tensors has none of its own and stays on the CPU."""
    return next((home for name, home in placed.items() if name.split(".")[0] == key), "cpu")
