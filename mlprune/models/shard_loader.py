"""Load a shard from a model folder."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from mlprune.errors import ModelError
from mlprune.models.checkpoint.weight_files import WeightFiles, weight_name
from mlprune.models.families.records import Family
from mlprune.models.inference.block_runner import BlockRunner
from mlprune.models.inference.onednn_layers import use_onednn
from mlprune.models.masks.masking import MaskedBlocks
from mlprune.models.meta_model import MetaModel
from mlprune.models.placement.budget import MemoryBudget, group_limit
from mlprune.models.placement.device_budget import ALL_DEVICES, DeviceBudget, DeviceMemory
from mlprune.models.placement.memory_estimate import footprint
from mlprune.models.placement.offloading import OffloadedParts
from mlprune.models.placement.placed_modules import PlacedModules
from mlprune.models.shard import Shard
from mlprune.models.sweep_states import ResidentStates
from mlprune.vocabulary import DtypeName


def load_shard(
    path: Path,
    blocks: range,
    *,
    n_blocks: int,
    dtype: DtypeName,
    budget: MemoryBudget | None = None,
    accelerators: DeviceBudget = ALL_DEVICES,
) -> Shard:
    """Load some blocks of a model: the first shard includes the embeddings, the last one the final norm and the head.

    Args:
        path: model folder.
        blocks: consecutive blocks to load.
        n_blocks: number of blocks of the whole model.
        dtype: dtype of weights and arithmetic; statistics and scores are accumulated in wider dtypes.
        budget: memory of the process; blocks that do not fit stay on disk and are read when they run.
        accelerators: what the process may use of its accelerators; by default all of each.
    Raises:
        ModelError: the folder is not a model that can be read, the model does not have these blocks, its config scales
            logits in a way that is not supported, or the budget has no room for one block.
    """
    meta_model = MetaModel(path, dtype)
    family = meta_model.family
    use_onednn(meta_model.model)
    n_stored = len(list(meta_model.model.get_submodule(family.blocks).children()))
    if n_stored != n_blocks or not blocks or not set(blocks) <= set(range(n_blocks)):
        raise ModelError(
            "the blocks of the shard do not match the model", expected=n_blocks, got=n_stored, blocks=str(blocks)
        )
    placed = PlacedModules(meta_model, blocks, n_blocks=n_blocks, budget=budget, accelerators=accelerators)
    runner = BlockRunner(meta_model.model, family, blocks, device=placed.first_device)

    def restore(block: int) -> None:
        masks.restore(block)

    offloaded = OffloadedParts(placed, blocks, restore=restore)
    masks = MaskedBlocks(
        runner.modules,
        family,
        lambda block, layers: stored_weights(path, family, block, layers=layers),
        offloaded=offloaded.blocks,
        in_memory=offloaded.has,
        spare_bytes=_spare_bytes(accelerators),
    )
    limit = group_limit(footprint(path, dtype)) if offloaded else None
    return Shard(runner, masks, offloaded=offloaded, sweep_states=ResidentStates(runner), limit=limit)


def _spare_bytes(accelerators: DeviceBudget) -> dict[torch.device, int]:
    """Return the bytes for dense copies on each accelerator, after the weights were loaded.

    Without a plan of the working memory, or after memory ran out, nothing is left for copies.
    """
    is_planned = accelerators.working_bytes > 0 and accelerators.device_share == 1.0
    if not is_planned or not torch.cuda.is_available():
        return {}
    devices = [torch.device("cuda", n) for n in range(accelerators.n_used(torch.cuda.device_count()))]
    memory = [DeviceMemory(*torch.cuda.mem_get_info(device)) for device in devices]
    rooms = accelerators.weight_rooms(memory, weight_bytes=0)
    loaded = [torch.cuda.memory_allocated(device) if accelerators.n_devices < 1 else 0 for device in devices]
    return {device: max(0, room - used) for device, room, used in zip(devices, rooms, loaded, strict=True)}


def stored_weights(path: Path, family: Family, block: int, *, layers: Iterable[str]) -> Mapping[str, Tensor]:
    """Return weights of a block: layer -> view of the checkpoint, in its dtype and not transposed.

    Raises:
        ModelError: the checkpoint cannot be read.
    """
    files = WeightFiles(path, family)
    names = {layer: weight_name(family, block, layer) for layer in layers}
    return {layer: files.read(name, files.dtype(name)) for layer, name in names.items()}
