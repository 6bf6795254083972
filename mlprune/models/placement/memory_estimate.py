"""Estimates of a model's memory, from its config and the headers of its weight files; no weight is read.

They also decide how many blocks a shard can keep in a memory budget.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import Tensor, nn

from mlprune.errors import ModelError
from mlprune.models.checkpoint.weight_files import DTYPES, WeightFiles, family_at, weight_name
from mlprune.models.families.records import Family
from mlprune.models.metadata_cache import remembered
from mlprune.vocabulary import DtypeName

PROCESS_BYTES = 6 * 2**30 // 10
"""Resident memory of a process before it loads a model: Python, torch and transformers (measured: 0.5 to 0.6 GiB)."""

GROUP_BYTES = 2**28
"""States and sums of the batches that pass the blocks of an offloaded shard together; logits are a few MiB of it."""

MOST_IN_TURN = 2
"""Blocks of a window: the one that computes and the one that is read meanwhile; more would not be faster."""

_SCORING = 4 + 1 + 1
"""Bytes a weight while its layer is ordered: float32 score, level, and one of scratch."""
_CHOSEN = 1 + 1
"""Bytes a weight of the whole block until its masks are written: level and keep mask."""
_STATE = 16
"""Bytes a token and feature of the widest input, while a batch runs through a block."""


@dataclass(frozen=True)
class Footprint:
    """Sizes of a model's parts in the dtype it is run in, in bytes."""

    before: int
    """What stands before the blocks: embeddings, positions, buffers."""
    blocks: tuple[int, ...]
    """Each block."""
    behind: int
    """Final norm and head."""
    tied: int
    """Part of `behind` that is the embedding's own tensor: a shard that has both ends holds it once."""
    looked_up: int
    """Part of `before` that a CPU leaves in the checkpoint: the token embedding, whose rows are read when named."""
    prunable: tuple[int, ...]
    """Weights of the prunable layers of the largest block, one number a layer, descending."""
    widest: int
    """Features of the widest input or output of a layer."""
    hidden: int
    """Features of the hidden states."""
    inputs: int
    """Features of the distinct inputs of a block."""
    vocabulary: int
    """Entries of the head."""
    item: int
    """Bytes of one weight."""

    @property
    def block(self) -> int:
        """The largest block."""
        return max(self.blocks)


def footprint(path: Path, dtype: DtypeName) -> Footprint:
    """Sizes of a model that is run in a dtype, whatever dtype its checkpoint has.

    Raises:
        ModelError: the folder is not one we read, or its weights lack a tensor.
    """
    facts = remembered(path, f"footprint {dtype}", lambda: asdict(_measured(path, dtype)))
    return Footprint(**{**facts, "blocks": tuple(facts["blocks"]), "prunable": tuple(facts["prunable"])})


def _measured(path: Path, dtype: DtypeName) -> Footprint:
    from mlprune.models.meta_model import own_tensors, skeleton, source_of  # noqa: PLC0415 - imports all of the model's code

    family = family_at(path)
    files = WeightFiles(path, family)
    model = skeleton(path, DTYPES[dtype])
    modules = list(model.get_submodule(family.blocks).children())
    everything = range(len(modules))
    sources = {name: source_of(name, model, files) for name, _ in own_tensors(model, family, everything)}
    sizes = {name: _bytes_of(parameter) for name, parameter in own_tensors(model, family, everything)}
    for source in sources.values():
        files.place(source)
    in_blocks = f"{family.blocks}."
    at_end = [name for name in sizes if name.startswith((f"{family.final_norm}.", f"{family.head}."))]
    at_start = [name for name in sizes if name not in at_end and not name.startswith(in_blocks)]
    buffers = (buffer for name, buffer in model.named_buffers() if not name.startswith(in_blocks))
    return Footprint(
        before=sum(sizes[name] for name in at_start) + sum(map(_bytes_of, buffers)),
        blocks=tuple(
            sum(size for name, size in sizes.items() if name.startswith(f"{in_blocks}{block}.")) for block in everything
        ),
        behind=sum(sizes[name] for name in at_end),
        tied=sum(sizes[name] for name in at_end if sources[name] in {sources[one] for one in at_start}),
        looked_up=_bytes_of(model.get_input_embeddings().weight),
        prunable=max(_prunable(module, family) for module in modules),
        widest=max(
            max(module.get_submodule(layer).get_parameter("weight").shape)
            for module in modules
            for layer in family.layers
        ),
        hidden=int(model.config.hidden_size),
        inputs=sum(
            files.shape(weight_name(family, 0, name))[0 if family.transposed else 1] for name in family.input_names
        ),
        vocabulary=model.get_submodule(family.head).get_parameter("weight").shape[0],
        item=DTYPES[dtype].itemsize,
    )


def shard_bytes(sizes: Footprint, span: Sequence[int]) -> int:
    """Weights of the shard that holds some consecutive blocks, all of them in memory.

    The process base, hidden states and what pruning takes are not in it: `PROCESS_BYTES`, `working_bytes`.
    """
    own = sum(sizes.blocks[block] for block in span)
    is_first, is_last = span[0] == 0, span[-1] == len(sizes.blocks) - 1
    ends = is_first * sizes.before + is_last * sizes.behind
    return own + ends - (is_first and is_last) * sizes.tied


def pruning_bytes(sizes: Footprint, *, n_threads: int = 1) -> int:
    """What pruning one block takes beside the shard: its weights, scores of the largest layers, levels and masks.

    Args:
        n_threads: layers that are ordered side by side.
    """
    n_weights = sum(sizes.prunable)
    return n_weights * (sizes.item + _CHOSEN) + sum(sizes.prunable[:n_threads]) * _SCORING


def working_bytes(sizes: Footprint, *, batch_tokens: int = 512, n_threads: int = 1) -> int:
    """What a process needs beside its base and its weights: groups of states, and pruning a block or running batches.

    Args:
        batch_tokens: tokens of a batch, padding included.
        n_threads: pieces worked on side by side.
    """
    running = n_threads * batch_tokens * sizes.widest * _STATE
    return GROUP_BYTES + max(pruning_bytes(sizes, n_threads=n_threads), running)


@dataclass(frozen=True)
class Residency:
    """Which blocks of a shard stay in memory: the first `n_staying`; the others take turns, `window` at a time."""

    n_staying: int
    window: int
    """0 where all blocks stay, and both ends of the model with them."""


def residency(
    sizes: Footprint, span: Sequence[int], budget_bytes: int, *, working_bytes: int | None = None
) -> Residency:
    """What a memory budget lets stay in memory.

    The budget is that of the whole process: its base (`PROCESS_BYTES`) counts, and so does its work. In an offloaded
    shard what stands before the blocks and behind them is in memory only while it embeds or scores, and no window then.

    Args:
        span: the shard's blocks.
        budget_bytes: of the process.
        working_bytes: what states and pruning take; the default is that of one thread and batches of 512 tokens.
    Raises:
        ModelError: there is no room for one block, or for an end of the model; the smallest budget is named.
    """
    working = _working(sizes, working_bytes)
    if PROCESS_BYTES + working + shard_bytes(sizes, span) <= budget_bytes:
        return Residency(len(span), 0)
    for n in range(len(span), 0, -1):
        window = min(MOST_IN_TURN, n)
        if _needed(sizes, span, Residency(n - window, window), working=working) <= budget_bytes:
            return Residency(n - window, window)
    raise ModelError(
        "a memory budget has no room for one block of the model and the work on it",
        blocks=f"{span[0]} to {span[-1]}",
        expected=f"{_gib_up(smallest_budget(sizes, span, working_bytes=working)):.2f} GiB or more",
        got=f"{budget_bytes / 2**30:.2f} GiB",
    )


def resident_blocks(
    sizes: Footprint, span: Sequence[int], budget_bytes: int, *, working_bytes: int | None = None
) -> int:
    """How many blocks of a shard a memory budget lets be in memory at once; all of them: nothing is offloaded.

    Args and Raises: as for `residency`. A shard of one block may have to offload an end of the model; it is 1 then too.
    """
    found = residency(sizes, span, budget_bytes, working_bytes=working_bytes)
    n = found.n_staying + found.window
    return n if found.window == 0 else min(n, max(1, len(span) - 1))


def smallest_budget(sizes: Footprint, span: Sequence[int], *, working_bytes: int | None = None) -> int:
    """Least memory of a process that can run a shard, one block at a time."""
    return _needed(sizes, span, Residency(0, 1), working=_working(sizes, working_bytes))


def _needed(sizes: Footprint, span: Sequence[int], kept: Residency, *, working: int) -> int:
    """Memory of the process of an offloaded shard: in its blocks, or at an end of the model."""
    largest = max(sizes.blocks[block] for block in span)
    is_first, is_last = span[0] == 0, span[-1] == len(sizes.blocks) - 1
    embedding = sizes.before - sizes.looked_up if is_first else 0
    head = sizes.behind if is_last else 0
    at_work = (kept.n_staying + kept.window) * largest + working
    at_an_end = kept.n_staying * largest + GROUP_BYTES + max(embedding, head)
    return PROCESS_BYTES + max(at_work, at_an_end)


def _working(sizes: Footprint, given: int | None) -> int:
    return working_bytes(sizes) if given is None else given


def _bytes_of(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _prunable(module: nn.Module, family: Family) -> tuple[int, ...]:
    """Weights of the prunable layers of a block, descending."""
    return tuple(
        sorted((module.get_submodule(layer).get_parameter("weight").numel() for layer in family.layers), reverse=True)
    )


def _gib_up(n_bytes: int) -> float:
    """GiB, rounded up to hundredths: a budget of so much is enough."""
    return -(-n_bytes * 100 // 2**30) / 100
