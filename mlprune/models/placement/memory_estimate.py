"""Estimates of a model's memory, from its config and the headers of its weight files; no weight is read.

They determine how many blocks a shard keeps in memory.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mlprune.models.architecture.architecture import Architecture, BlockArchitecture, Experts
from mlprune.models.checkpoint.weight_files import DTYPES, WeightFiles, architecture_at
from mlprune.models.metadata_cache import cached_metadata
from mlprune.vocabulary import DtypeName

PROCESS_BYTES = 6 * 2**30 // 10
"""Resident memory of a process before it loads a model: Python, torch and transformers (measured: 0.5 to 0.6 GiB)."""

GROUP_BYTES = 2**28
"""Memory for states and sums of the batches of a group, in an offloaded shard. Logits need a few MiB of it."""

_SCORING_BYTES = 4 + 1 + 1
"""Bytes per weight while its layer is ordered: float32 score, level, and one byte of scratch."""
_LEVEL_COPIES = 3
"""Copies of the packed levels of a block: until they are written, as columns, and as the bytes of a file."""
MAX_STATE_BYTES = 4 * 2**30
"""Hidden states of a pass block by block that stay in memory, in bytes; see `SpilledStates`."""
STATE_BYTES = 16
"""Bytes per token and feature of the widest input, while a batch runs through a block."""


@dataclass(frozen=True)
class Footprint:
    """Sizes of a model's parts in bytes, in the dtype in which the model runs."""

    before: int
    """Size of everything before the blocks: embeddings, positions, buffers."""
    blocks: tuple[int, ...]
    """Size of each block."""
    tail: int
    """Size of final norm and head."""
    tied: int
    """Part of `tail` that is also the embedding's tensor: a shard that has both stores it once."""
    on_demand: int
    """Part of `before` that stays in the checkpoint on a CPU: the token embedding, whose rows are read on demand."""
    prunable: tuple[int, ...]
    """Number of weights of each prunable layer of the largest block, descending."""
    widest: int
    """Features of the widest input or output of a layer."""
    hidden: int
    """Features of the hidden states."""
    inputs: int
    """Features of the distinct inputs of a block."""
    vocabulary: int
    """Entries of the head."""
    itemsize: int
    """Bytes of one weight."""
    input_products: int = 0
    """Elements of the Gram matrices of the distinct inputs of a block: the sum of their squared numbers of features."""
    idle: int = 0
    """Prunable weights of the largest block that a token does not use: those of the experts that it does not choose."""
    idle_products: int = 0
    """Part of `input_products` that a token does not change: Gram matrices of experts that it does not choose."""
    n_experts: int = 0
    """Experts of the block that has most."""
    expert_products: int = 0
    """Elements of the Gram matrices of one expert."""
    expert: int = 0
    """Size of the largest expert."""
    without_experts: tuple[int, ...] = ()
    """Size of each block without its experts; empty if no block has any."""

    @property
    def block(self) -> int:
        """Size of the largest block."""
        return max(self.blocks)


def gib_rounded_up(n_bytes: int, *, digits: int) -> float:
    """Convert bytes to GiB, rounded up to some decimal places, so that memory of this size suffices."""
    scale = int(10**digits)
    return -(-n_bytes * scale // 2**30) / scale


def footprint(path: Path, dtype: DtypeName) -> Footprint:
    """Return the sizes of a model that runs in a dtype, which may differ from that of its checkpoint.

    Raises:
        ModelError: the folder is not a model that can be read, or its weights lack a tensor.
    """
    stored = cached_metadata(path, f"footprint {dtype}", lambda: asdict(_measure(path, dtype)))
    sizes: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in stored.items()}
    return Footprint(**sizes)


def _measure(path: Path, dtype: DtypeName) -> Footprint:
    from mlprune.models.meta_model import build_skeleton, shard_parameters, source_of  # noqa: PLC0415 - imports transformers

    architecture = architecture_at(path)
    files = WeightFiles(path, architecture)
    model = build_skeleton(path, DTYPES[dtype])
    modules = list(model.get_submodule(architecture.blocks).children())
    all_blocks = range(len(modules))
    sources = {name: source_of(name, model, files) for name, _ in shard_parameters(model, architecture, all_blocks)}
    sizes = {name: _bytes_of(parameter) for name, parameter in shard_parameters(model, architecture, all_blocks)}
    for source in sources.values():
        files.parts(source)
    in_blocks = f"{architecture.blocks}."
    at_end = [name for name in sizes if architecture.is_after_blocks(name)]
    at_start = [name for name in sizes if name not in at_end and not name.startswith(in_blocks)]
    buffers = (buffer for name, buffer in model.named_buffers() if not name.startswith(in_blocks))
    widths = [_input_widths(files, architecture, block) for block in all_blocks]
    experts = architecture.experts
    products = [_expert_products(files, block, one) for block, one in experts.items()]
    of_experts = {block: _expert_sizes(sizes, f"{in_blocks}{block}.", one) for block, one in experts.items()}
    block_sizes = [
        sum(size for name, size in sizes.items() if name.startswith(f"{in_blocks}{block}.")) for block in all_blocks
    ]
    return Footprint(
        before=sum(sizes[name] for name in at_start) + sum(map(_bytes_of, buffers)),
        blocks=tuple(block_sizes),
        tail=sum(sizes[name] for name in at_end),
        tied=sum(sizes[name] for name in at_end if sources[name] in {sources[first] for first in at_start}),
        on_demand=_bytes_of(model.get_input_embeddings().weight),
        prunable=max(_prunable(module, architecture.block(block)) for block, module in enumerate(modules)),
        widest=max(
            max(module.get_submodule(layer).get_parameter("weight").shape)
            for block, module in enumerate(modules)
            for layer in architecture.block(block).layers
        ),
        hidden=int(model.config.hidden_size),
        inputs=max(map(sum, widths)),
        vocabulary=model.get_submodule(architecture.head).get_parameter("weight").shape[0],
        itemsize=DTYPES[dtype].itemsize,
        input_products=max(sum(width**2 for width in of_block) for of_block in widths),
        idle=max(_idle(module, architecture.block(block)) for block, module in enumerate(modules)),
        idle_products=max(
            ((one.n_experts - one.top_k) * n for one, n in zip(experts.values(), products, strict=True)), default=0
        ),
        n_experts=max((one.n_experts for one in experts.values()), default=0),
        expert_products=max(products, default=0),
        expert=max((max(sizes_of) for sizes_of in of_experts.values()), default=0),
        without_experts=tuple(block_sizes[block] - sum(of_experts.get(block, ())) for block in all_blocks)
        if experts
        else (),
    )


def shard_bytes(sizes: Footprint, span: Sequence[int]) -> int:
    """Return the size of all weights of a shard of consecutive blocks.

    The base of the process (`PROCESS_BYTES`), hidden states and pruning (`estimate_working_bytes`) are not included.
    """
    in_blocks = sum(sizes.blocks[block] for block in span)
    is_first, is_last = span[0] == 0, span[-1] == len(sizes.blocks) - 1
    ends = is_first * sizes.before + is_last * sizes.tail
    return in_blocks + ends - (is_first and is_last) * sizes.tied


def pruning_bytes(sizes: Footprint, *, n_sparsities: int = 1, n_threads: int = 1) -> int:
    """Estimate the memory to prune a block: packed levels of all layers; weights and scores of a layer per thread.

    Args:
        n_sparsities: number of sparsities of the ordering.
        n_threads: number of layers that are read and ordered in parallel.
    """
    level_bytes = _LEVEL_COPIES * sum(sizes.prunable) * n_sparsities.bit_length() // 8
    return level_bytes + sum(sizes.prunable[:n_threads]) * (sizes.itemsize + _SCORING_BYTES)


def estimate_working_bytes(sizes: Footprint, *, batch_tokens: int = 512, n_threads: int = 1) -> int:
    """Estimate the memory of a process in addition to its base and its weights: groups of states, pruning, batches.

    Args:
        batch_tokens: number of tokens of a batch, padding included.
        n_threads: number of layers or batches that are processed in parallel.
    """
    running = n_threads * batch_tokens * sizes.widest * STATE_BYTES
    return GROUP_BYTES + max(pruning_bytes(sizes, n_threads=n_threads), running)


def _bytes_of(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _input_widths(files: WeightFiles, architecture: Architecture, block: int) -> list[int]:
    """Return the features of each input of a block."""
    shapes = files.layer_shapes(block)
    return [shapes[name][1] for name in architecture.block(block).input_names]


def _idle(module: nn.Module, block: BlockArchitecture) -> int:
    """Return the number of weights of the experts of a block that a token does not choose."""
    if block.experts is None:
        return 0
    n_weights = sum(module.get_submodule(layer).get_parameter("weight").numel() for layer in block.experts.layers(0))
    return (block.experts.n_experts - block.experts.top_k) * n_weights


def _expert_products(files: WeightFiles, block: int, experts: Experts) -> int:
    """Return the elements of the Gram matrices of one expert of a block."""
    shapes = files.layer_shapes(block)
    return sum(shapes[layer][1] ** 2 for layer in experts.layers(0))


def _expert_sizes(sizes: Mapping[str, int], block: str, experts: Experts) -> list[int]:
    """Return the size of each expert of a block.

    Args:
        sizes: parameter -> bytes.
        block: name of the block, with a dot at the end.
    """
    start = f"{block}{experts.path}."
    totals = [0] * experts.n_experts
    for name, size in sizes.items():
        number = name.removeprefix(start).partition(".")[0] if name.startswith(start) else ""
        if number.isdigit():
            totals[int(number)] += size
    return totals


def _prunable(module: nn.Module, block: BlockArchitecture) -> tuple[int, ...]:
    """Return the number of weights of each prunable layer of a block, descending."""
    return tuple(
        sorted((module.get_submodule(layer).get_parameter("weight").numel() for layer in block.layers), reverse=True)
    )
