"""Load the shard of some blocks from a model folder."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor

from mlprune.errors import ModelError
from mlprune.models.checkpoint.weight_files import DTYPES, WeightFiles, weight_name
from mlprune.models.families.records import Family
from mlprune.models.inference.block_runner import BlockRunner
from mlprune.models.inference.onednn_layers import use_onednn
from mlprune.models.masking import MaskedBlocks
from mlprune.models.meta_model import MetaModel
from mlprune.models.placement.budget import MemoryBudget, group_limit
from mlprune.models.placement.memory_estimate import footprint
from mlprune.models.placement.offloading import OffloadedParts
from mlprune.models.placement.placed_modules import PlacedModules
from mlprune.models.shard import Shard
from mlprune.models.sweep_states import ResidentStates
from mlprune.vocabulary import DtypeName


def load_shard(
    path: Path, blocks: range, *, n_blocks: int, dtype: DtypeName, budget: MemoryBudget | None = None
) -> Shard:
    """Load blocks `blocks` of the model in a folder, with the embeddings or the head if the shard has them.

    Args:
        path: model folder.
        blocks: consecutive blocks, of the model's `n_blocks`.
        n_blocks: blocks of the whole model.
        dtype: of the weights and the arithmetic; statistics and scores are accumulated wider.
        budget: memory of the process; blocks that do not fit stay on disk and are read when they run.
    Raises:
        ModelError: the folder is not a model that can be read, the model does not have these blocks, its config scales
            logits in a way that is not supported, or the budget has no room for one block.
    """
    meta_model = MetaModel(path, dtype)
    family = meta_model.family
    use_onednn(meta_model.model)
    n_stored = len(list(meta_model.model.get_submodule(family.blocks).children()))
    if n_stored != n_blocks or not blocks or not set(blocks) <= set(range(n_blocks)):
        raise ModelError("the model has other blocks", expected=n_blocks, got=n_stored, blocks=str(blocks))
    placed = PlacedModules(meta_model, blocks, n_blocks=n_blocks, budget=budget)
    runner = BlockRunner(meta_model.model, family, blocks, device=placed.first_device)

    def restore(block: int) -> None:
        masks.restore(block)

    offloaded = OffloadedParts(placed, blocks, restore=restore)
    masks = MaskedBlocks(
        runner.modules,
        family,
        lambda block, layers: stored_weights(path, family, block, layers=layers, dtype=dtype),
        offloaded=offloaded.blocks,
        in_memory=offloaded.has,
    )
    limit = group_limit(footprint(path, dtype)) if offloaded else None
    return Shard(runner, masks, offloaded=offloaded, sweep_states=ResidentStates(runner), limit=limit)


def stored_weights(
    path: Path, family: Family, block: int, *, layers: Iterable[str], dtype: DtypeName
) -> Mapping[str, Tensor]:
    """Weights of a block as the checkpoint stores them, in a dtype: layer -> tensor, not transposed.

    Raises:
        ModelError: the checkpoint cannot be read.
    """
    files = WeightFiles(path, family)
    return {layer: files.read(weight_name(family, block, layer), DTYPES[dtype]) for layer in layers}
