"""Cut removed experts out of a model folder: their weights, their rows of the router, and their number in the config.

The config has one number of experts for all blocks, and groups of experts have equal sizes. The model that its code
builds from the new config shows which tensors next to the experts have an entry per expert: router weights, router
biases and correction biases.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from transformers import AutoConfig, PreTrainedModel

from mlprune.errors import BadInputError
from mlprune.json_values import JsonObject
from mlprune.models.architecture.architecture import Architecture, Experts
from mlprune.models.architecture.units import EXPERT_KEYS
from mlprune.models.checkpoint.rewritten_files import FileChanges, rewrite_files, write_json
from mlprune.models.checkpoint.weight_files import (
    WeightFiles,
    architecture_at,
    bias_name,
    read_json_object,
    weight_name,
)
from mlprune.models.meta_model import build_skeleton
from mlprune.models.removed_experts import require_choice

RemovedExperts = Mapping[int, tuple[int, ...]]
"""Block -> its removed experts, ascending."""


def cut_experts(folder: Path, removed: RemovedExperts) -> tuple[int, int]:
    """Cut experts out of a folder, which is changed in place. A weight file is in memory at a time.

    Returns: number of experts of all blocks, before and after.
    Raises:
        BadInputError: blocks or groups would keep unequal numbers of experts, or the config has no key for the number.
        ModelError: too few experts remain for the choice of a router.
    """
    architecture = architecture_at(folder)
    experts = {
        block: kind for block in range(architecture.n_blocks) if (kind := architecture.block(block).experts) is not None
    }
    kept = {
        block: [expert for expert in range(kind.n_experts) if expert not in removed.get(block, ())]
        for block, kind in experts.items()
    }
    model = build_skeleton(folder, torch.float32)
    n_kept = _equal_count(experts, kept)
    files = WeightFiles(folder, architecture)
    changes: dict[str, FileChanges] = defaultdict(FileChanges)
    for block, of_block in kept.items():
        _collect_experts(changes, files, block, experts[block], of_block)
    _write_config(folder, n_before={kind.n_experts for kind in experts.values()}, n_kept=n_kept)
    smaller = build_skeleton(folder, torch.float32)
    _require_count(architecture_at(folder), n_kept)
    for block, of_block in kept.items():
        _collect_routing(changes, files, f"{architecture.blocks}.{block}.", of_block, before=model, after=smaller)
    rewrite_files(folder, files, changes)
    return sum(kind.n_experts for kind in experts.values()), n_kept * len(experts)


def _equal_count(experts: Mapping[int, Experts], kept: Mapping[int, Sequence[int]]) -> int:
    """Return the number of experts that every block keeps; raises as `cut_experts`."""
    counts = sorted({len(of_block) for of_block in kept.values()})
    if len(counts) > 1:
        raise _unequal(f"blocks keep {counts[0]} to {counts[-1]} experts", "a number of experts for all blocks")
    for block, kind in experts.items():
        removed = tuple(expert for expert in range(kind.n_experts) if expert not in kept[block])
        require_choice(kind, removed, block=block)
        n_kept = [sum(expert // kind.group_size == group for expert in kept[block]) for group in range(kind.n_groups)]
        of_groups = sorted(set(n_kept))
        if len(of_groups) > 1:
            reason = f"groups of block {block} keep {of_groups[0]} to {of_groups[-1]} experts"
            raise _unequal(reason, "groups of equal sizes")
    return counts[0]


def _unequal(reason: str, of_config: str) -> BadInputError:
    return BadInputError(
        f"{reason}, and the config has {of_config}: no plain folder has the outputs of the variant",
        next="remove equal shares of the experts of every block and group, or load the variant with store.load",
    )


def _collect_experts(
    changes: dict[str, FileChanges], files: WeightFiles, block: int, experts: Experts, kept: Sequence[int]
) -> None:
    """Collect the changes of the tensors with the layers of the experts of a block."""
    architecture = files.architecture
    number_of = {expert: number for number, expert in enumerate(kept)}
    for expert in range(experts.n_experts):
        for position, layer in enumerate(experts.layers(expert)):
            for name_of in (weight_name, bias_name):
                name = name_of(architecture, block, layer)
                if not files.has(name):
                    continue
                number = number_of.get(expert)
                target = None if number is None else name_of(architecture, block, experts.layers(number)[position])
                targets = [None] * len(files.parts(name)) if target is None else files.parts(target)
                for part, renamed in zip(files.parts(name), targets, strict=True):
                    if part.index is None:
                        changes[part.file].names[part.name] = None if renamed is None else renamed.name
                    else:
                        changes[part.file].kept[part.name] = 0, kept


def _collect_routing(
    changes: dict[str, FileChanges],
    files: WeightFiles,
    prefix: str,
    kept: Sequence[int],
    *,
    before: PreTrainedModel,
    after: PreTrainedModel,
) -> None:
    """Collect the changes of the other tensors of a block whose size is another one in the smaller model."""
    sizes = dict(_shapes(after))
    for name, shape in _shapes(before):
        if name.startswith(prefix) and sizes.get(name, shape) != shape and files.has(name):
            dimension = next(number for number, n in enumerate(shape) if n != sizes[name][number])
            (part,) = files.parts(name)
            changes[part.file].kept[part.name] = dimension, kept


def _shapes(model: PreTrainedModel) -> list[tuple[str, tuple[int, ...]]]:
    return [(name, tuple(tensor.shape)) for name, tensor in model.state_dict().items()]


def _write_config(folder: Path, *, n_before: set[int], n_kept: int) -> None:
    """Write the number of experts into the config, under the keys that have it."""
    config = dict(read_json_object(folder / "config.json"))
    loaded: JsonObject = AutoConfig.from_pretrained(str(folder), local_files_only=True).to_dict()
    stated = [key for key in EXPERT_KEYS if config.get(key) in n_before]
    keys = stated or [key for key in EXPERT_KEYS if loaded.get(key) in n_before][:1]
    write_json(folder / "config.json", config | dict.fromkeys(keys, n_kept))


def _require_count(architecture: Architecture, n_kept: int) -> None:
    """Check that the config states the number of experts that remain."""
    got = sorted({kind.experts.n_experts for kind in architecture.kinds if kind.experts is not None})
    if got != [n_kept]:
        message = f"the config of a {architecture.name} has no key that is known for the number of experts"
        raise BadInputError(message, expected=n_kept, got=got)
