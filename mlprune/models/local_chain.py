"""Load shards from a model folder, and chain shards that are all in this process."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Concatenate

import torch
from torch import Tensor, nn

from mlprune.errors import ModelError
from mlprune.models.architecture.architecture import Architecture
from mlprune.models.block_ranges import plan_spans, shard_of
from mlprune.models.chain import Arguments, ReplicaOffer
from mlprune.models.checkpoint.weight_files import WeightFiles, weight_name
from mlprune.models.inference.block_runner import BlockRunner
from mlprune.models.inference.kept_states import KeptStates
from mlprune.models.inference.visitor import BlockVisitor, Item, Operation, Result, ShardMessage, group_visitors
from mlprune.models.masks.changed_embeddings import ChangedEmbeddings
from mlprune.models.masks.masking import MaskedBlocks
from mlprune.models.meta_model import MetaModel, embedding_sources, shard_parameters
from mlprune.models.placement.budget import (
    ALL_DEVICES,
    DeviceBudget,
    DeviceMemory,
    GroupLimit,
    MemoryBudget,
    group_limit,
)
from mlprune.models.placement.memory_estimate import footprint
from mlprune.models.placement.offloaded_parts import OffloadedParts
from mlprune.models.placement.placed_modules import PlacedModules
from mlprune.models.shard import Shard
from mlprune.models.sweep_states import ResidentStates
from mlprune.numeric.log_probs import MIN_WEIGHTS, has_quick_products, quick_linear
from mlprune.processes.parallel import parallel_map
from mlprune.vocabulary import DtypeName


def use_onednn(module: nn.Module) -> None:
    """Replace the forward of the large `Linear` layers of a module; call it before any forward runs."""
    if not has_quick_products():
        return
    for layer in module.modules():
        if type(layer) is nn.Linear and layer.weight.numel() >= MIN_WEIGHTS:
            layer.forward = partial(_forward, layer)  # type: ignore[method-assign]


def _forward(layer: nn.Linear, inputs: Tensor) -> Tensor:
    """Multiply with the current weight of the layer."""
    return quick_linear(inputs, layer.weight, layer.bias)


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
    architecture = meta_model.architecture
    use_onednn(meta_model.model)
    n_stored = len(list(meta_model.model.get_submodule(architecture.blocks).children()))
    if n_stored != n_blocks or not blocks or not set(blocks) <= set(range(n_blocks)):
        raise ModelError(
            "the blocks of the shard do not match the model", expected=n_blocks, got=n_stored, blocks=str(blocks)
        )
    placed = PlacedModules(meta_model, blocks, n_blocks=n_blocks, budget=budget, accelerators=accelerators)
    runner = BlockRunner(meta_model.model, architecture, blocks, device=placed.first_device)
    own = {name for name, _ in shard_parameters(meta_model.model, architecture, blocks)}
    sources = embedding_sources(meta_model.model, architecture, WeightFiles(path, architecture))
    runner.embeddings = ChangedEmbeddings(meta_model.model, {name: sources[name] for name in sources if name in own})

    def restore(part: int) -> None:
        if part in blocks:
            masks.restore(part, placed.resident_layers(part))
        else:
            runner.embeddings.restore()

    offloaded = OffloadedParts(placed, blocks, restore=restore)
    masks = MaskedBlocks(
        runner.modules,
        architecture,
        lambda block, layers: stored_weights(path, architecture, block, layers=layers),
        offloaded=offloaded.blocks,
        in_memory=offloaded.has,
        spare_bytes=_spare_bytes(accelerators),
    )
    placed.stream_experts(masks.restore)
    limit = group_limit(footprint(path, dtype)) if offloaded else None
    if limit is None and runner.is_first and runner.is_last and runner.is_on_cpu:
        runner.kept_states = KeptStates(lambda: masks.contents()[: runner.first_shift])
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


def stored_weights(
    path: Path, architecture: Architecture, block: int, *, layers: Iterable[str]
) -> Mapping[str, Tensor]:
    """Return weights of a block: layer -> view of the checkpoint, in its dtype and not transposed.

    Raises:
        ModelError: the checkpoint cannot be read.
    """
    files = WeightFiles(path, architecture)
    names = {layer: weight_name(architecture, block, layer) for layer in layers}
    return {layer: files.read(name, files.dtype(name)) for layer, name in names.items()}


class LocalChain:
    """Shards in this process. As many items run at once as the process has threads.

    If parts of the shards are on disk, items run in groups, block by block, so that weights are read once per group.

    Args:
        shards: in the order of their blocks.
        limit: limit of a group, if parts are on disk; by default the limit of the shards.
    Raises:
        ModelError: the blocks of the shards are not all blocks of the model in order.
    """

    def __init__(self, shards: Sequence[Shard], *, limit: GroupLimit | None = None) -> None:
        self.shards = tuple(shards)
        self.spans = tuple(shard.blocks for shard in self.shards)
        self.n_blocks = self.shards[0].n_blocks if shards else 0
        blocks = [block for span in self.spans for block in span]
        if not shards or blocks != list(range(self.n_blocks)):
            raise ModelError("shards do not follow each other", expected=f"blocks 0 to {self.n_blocks - 1}", got=blocks)
        shard_limit = chain_limit(shard.group_limit() for shard in self.shards)
        self.limit = shard_limit if shard_limit is None or limit is None else limit
        """Limit of a group of items; None if items run one by one."""

    def stream(self, operation: Operation[Item, Result], items: Iterable[Item]) -> Iterator[Result]:
        """See `Chain.stream`."""
        visitors = map(operation, items)
        if self.limit is not None:
            return self._in_groups(visitors, self.limit)
        return parallel_map(lambda visitor: self._run([visitor])[0], visitors)

    def _in_groups(self, visitors: Iterable[BlockVisitor[Result]], limit: GroupLimit) -> Iterator[Result]:
        for group in group_visitors(visitors, limit):
            yield from self._run(group)
        self.everywhere(Shard.free_offloaded)

    def _run(self, visitors: Sequence[BlockVisitor[Result]]) -> list[Result]:
        """Run visitors through all shards together."""
        messages = [ShardMessage(visitor) for visitor in visitors]
        for shard in self.shards[:-1]:
            messages = shard.advance(messages)
        return self.shards[-1].finish(messages)

    def on_block(
        self,
        block: int,
        method: Callable[Concatenate[Shard, Arguments], Result],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Result:
        """See `Chain.on_block`."""
        return method(self.shards[shard_of(self.spans, block)], *args, **kwargs)

    def everywhere(
        self, method: Callable[Concatenate[Shard, Arguments], Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> list[Result]:
        """See `Chain.everywhere`."""
        return [method(shard, *args, **kwargs) for shard in self.shards]

    @property
    def others(self) -> ReplicaOffer | None:
        """See `Chain.others`: there are none."""
        return None


def local_chain(
    path: Path,
    *,
    n_shards: int = 1,
    dtype: DtypeName = "float32",
    budget: MemoryBudget | None = None,
    accelerators: DeviceBudget = ALL_DEVICES,
    limit: GroupLimit | None = None,
) -> LocalChain:
    """Load a model as a chain in this process.

    Args:
        budget: memory budget of each shard, as if it were alone in its process; by default, nothing stays on disk.
        accelerators: what each shard may use of the accelerators; by default all that is free.
        limit: limit of a group of items, if parts of the model are on disk; by default the limit of the shards.
    Raises:
        ModelError: the folder is not a model that can be read, the model has fewer blocks than `n_shards`, or the
            budget has no room for one block.
    """
    n_blocks = len(footprint(path, dtype).blocks)
    load = partial(load_shard, path, n_blocks=n_blocks, dtype=dtype, budget=budget, accelerators=accelerators)
    shards = [load(span) for span in plan_spans(n_blocks, n_shards)]
    return LocalChain(shards, limit=limit)


def chain_limit(limits: Iterable[GroupLimit | None]) -> GroupLimit | None:
    """Return the limit of groups of items, from the limits of the shards; None if items run one by one."""
    return next((limit for limit in limits if limit is not None), None)
