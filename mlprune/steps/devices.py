"""Devices: resolve `compute.device` and the dtype of the model for the machines that run a recipe.

Both are part of ids, so they are resolved when a recipe is planned, from the machines of its run.
"""

from typing import NamedTuple

import torch

from mlprune.recipe import Recipe
from mlprune.recipe.compute import ComputeConfig
from mlprune.vocabulary import DeviceName, DtypeName

BFLOAT16_CAPABILITY = (8, 0)
"""First compute capability of CUDA (Ampere) with products in bfloat16."""


class Accelerators(NamedTuple):
    """Accelerators of the machines that run a recipe."""

    exist: bool
    """Whether any machine has one."""
    have_bfloat16: bool
    """Whether all of them compute in bfloat16; True without any."""


def local_accelerators() -> Accelerators:
    """Return the accelerators of this machine."""
    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return Accelerators(n_gpus > 0, all(map(has_bfloat16, range(n_gpus))))


def has_bfloat16(number: int) -> bool:
    """Return whether an accelerator of this machine computes in bfloat16."""
    return torch.version.hip is not None or torch.cuda.get_device_capability(number) >= BFLOAT16_CAPABILITY


def with_devices(recipe: Recipe, accelerators: Accelerators) -> Recipe:
    """Return the recipe with its kind of device and its dtype in place of `auto`."""
    device = resolved_device(recipe.compute, accelerators)
    dtype = resolved_dtype(recipe.model.dtype, device, accelerators)
    return recipe.model_copy(
        update={
            "model": recipe.model.model_copy(update={"dtype": dtype}),
            "compute": recipe.compute.model_copy(update={"device": device}),
        }
    )


def device_and_dtype(recipe: Recipe) -> tuple[DeviceName, DtypeName]:
    """Return the kind of device and the dtype of a recipe.

    Automatic ones are resolved for this machine. Only then are its accelerators measured, which starts CUDA in this
    process.
    """
    device, dtype = recipe.compute.device, recipe.model.dtype
    if device != "auto" and dtype != "auto":
        return device, dtype
    accelerators = local_accelerators()
    device = resolved_device(recipe.compute, accelerators)
    return device, resolved_dtype(dtype, device, accelerators)


def resolved_device(compute: ComputeConfig, accelerators: Accelerators) -> DeviceName:
    """Return the kind of device that computes: what the recipe says, or accelerators if there are any."""
    if compute.device != "auto":
        return compute.device
    if compute.gpus_per_actor != "auto":
        return "cuda" if compute.gpus_per_actor > 0 else "cpu"
    return "cuda" if accelerators.exist else "cpu"


def resolved_dtype(dtype: DtypeName | str, device: DeviceName, accelerators: Accelerators) -> DtypeName:
    """Return the dtype of the model: what the recipe says, or bfloat16 on accelerators that have it, or float32.

    The dtype of the checkpoint does not matter. float16 is never chosen: activations of XGLM, among others, exceed it.
    """
    if dtype in ("float32", "bfloat16", "float16"):
        return dtype
    return "bfloat16" if device == "cuda" and accelerators.have_bfloat16 else "float32"
