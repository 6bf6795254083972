"""Report on a model folder before any work: what can be pruned, what stays dense, and whether its files fit.

A folder may have a config and no weights yet. Of weights, only names, shapes and dtypes are read; their values are
checked when a run opens the model.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import PretrainedConfig, PreTrainedModel

from mlprune.errors import ModelError
from mlprune.json_values import JsonObject
from mlprune.models.architecture.architecture import Architecture, BlockArchitecture
from mlprune.models.architecture.units import INSEPARABLE, unit_layouts
from mlprune.models.checkpoint.content_hashes import TOKENIZER_FILES
from mlprune.models.checkpoint.weight_files import DTYPES, WeightFiles, architecture_at, has_weights, read_json_object
from mlprune.models.loading import check_tokenizer, checked_tensors, longest_text
from mlprune.models.meta_model import build_skeleton, source_of
from mlprune.models.model_layers import (
    DenseGroup,
    WeightGroup,
    dense_groups,
    layer_shapes,
    model_layers,
    weights_by_group,
)

CHAT_TEMPLATE = "chat_template"
"""Key of the tokenizer's config, and name of a file of its own."""


@dataclass(frozen=True)
class Units:
    """Attention heads or neurons of a kind of block."""

    counts: tuple[int, ...]
    """Distinct numbers of removable units of a block, ascending; empty if single ones cannot be removed."""
    reason: str | None = None
    """Why single units cannot be removed."""


@dataclass(frozen=True)
class BlockKind:
    """The blocks of a model that have the same layers and the same kind of attention."""

    name: str
    """`attention`, `sliding_attention`, ...: the name in the config if it has one for each block."""
    blocks: tuple[int, ...]
    inputs: tuple[tuple[str, ...], ...]
    """Groups of layers that read the same input."""
    heads: Units
    neurons: Units


@dataclass(frozen=True)
class ModelReport:
    """What was found in a model folder."""

    model_type: str
    has_weights: bool
    has_tokenizer: bool
    n_blocks: int
    hidden_size: int
    window: int | None
    """Tokens in the window of blocks with sliding attention."""
    max_positions: int | None
    """Longest text, in tokens; None if unlimited."""
    has_chat_template: bool
    dtypes: tuple[str, ...]
    """Dtypes of the weights, the most frequent one first."""
    n_bytes: int | None
    """Size of the weight files; None without weights."""
    tied: tuple[tuple[str, str], ...]
    """(parameter, the parameter with the same weights)."""
    weights: Mapping[WeightGroup, int]
    """Group -> number of weights."""
    kinds: tuple[BlockKind, ...]
    dense: tuple[DenseGroup, ...]

    @property
    def n_weights(self) -> int:
        """Number of all weights; tied ones count once."""
        return sum(self.weights.values())


def report_model(folder: Path) -> ModelReport:
    """Report on a model folder, with or without weights.

    Raises:
        ModelError: the model cannot be pruned, or its weights or its tokenizer do not fit its config.
    """
    architecture = architecture_at(folder)
    model = build_skeleton(folder, DTYPES["float32"])
    files = WeightFiles(folder, architecture) if has_weights(folder) else None
    if files is not None:
        checked_tensors(folder, model, files)
    has_tokenizer = any((folder / name).exists() for name in TOKENIZER_FILES)
    if files is not None or has_tokenizer:
        check_tokenizer(folder)
    names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    stored = {name: _stored_name(name, model, files) for name in names}
    weights = weights_by_group(model, architecture, stored)
    if not weights["prunable"]:
        raise ModelError("the blocks of the model have no linear layers to prune", model_type=architecture.name)
    stated = read_json_object(folder / "config.json")
    return ModelReport(
        model_type=architecture.name,
        has_weights=files is not None,
        has_tokenizer=has_tokenizer,
        n_blocks=architecture.n_blocks,
        hidden_size=int(model.config.hidden_size),
        window=_window(model.config),
        max_positions=longest_text(model.config),
        has_chat_template=_has_chat_template(folder),
        dtypes=_dtypes(stated, files, stored.values()),
        n_bytes=None if files is None else sum((folder / name).stat().st_size for name in files.file_names),
        tied=tuple((name, source) for name, source in stored.items() if name != source and source in stored),
        weights=weights,
        kinds=tuple(_kinds(model, architecture, stated)),
        dense=dense_groups(model_layers(model, architecture)),
    )


def _stored_name(name: str, model: PreTrainedModel, files: WeightFiles | None) -> str:
    if files is not None:
        return source_of(name, model, files)
    tied: dict[str, str] = model.all_tied_weights_keys
    return tied.get(name, name)


def _kinds(model: PreTrainedModel, architecture: Architecture, stated: JsonObject) -> list[BlockKind]:
    """Group the blocks by their layers and their kind of attention, in the order of their first blocks."""
    blocks: dict[tuple[str, int], list[int]] = {}
    for block, kind in enumerate(architecture.kind_of_block):
        blocks.setdefault((_kind_name(model.config, architecture, block), kind), []).append(block)
    return [
        BlockKind(
            name,
            tuple(members),
            architecture.kinds[kind].inputs,
            *_units(model, architecture, members, architecture.kinds[kind], stated),
        )
        for (name, kind), members in blocks.items()
    ]


def _kind_name(config: PretrainedConfig, architecture: Architecture, block: int) -> str:
    names = getattr(config, "layer_types", None)
    if isinstance(names, Sequence) and len(names) == architecture.n_blocks:
        return str(names[block])
    kind = architecture.block(block)
    if kind.is_recurrent:
        return "attention_and_recurrent" if kind.attention is not None else "recurrent"
    if kind.attention is None:
        return "other_operations"
    return "sliding_attention" if _window(config) else "attention"


def _window(config: PretrainedConfig) -> int | None:
    window = getattr(config, "sliding_window", None)
    is_used = getattr(config, "use_sliding_window", True)
    return window if isinstance(window, int) and is_used else None


def _units(
    model: PreTrainedModel,
    architecture: Architecture,
    blocks: Sequence[int],
    kind: BlockArchitecture,
    stated: JsonObject,
) -> tuple[Units, Units]:
    """Return the heads and the neurons of some blocks of one kind."""
    no_heads = (
        INSEPARABLE.get(kind.heads) if kind.attention is not None else "no attention with one output layer was found"
    )
    no_neurons = None if kind.feed_forward is not None else "no feed-forward part was found"
    counts: dict[str, set[int]] = {"heads": set(), "neurons": set()}
    try:
        for block in blocks:
            for layout in unit_layouts(kind, layer_shapes(model, architecture, block), stated):
                counts[layout.kind].add(layout.n_units)
    except ModelError as err:
        return Units((), no_heads or err.message), Units((), no_neurons or err.message)
    heads, neurons = (tuple(sorted(counts[name])) for name in ("heads", "neurons"))
    return Units(heads, no_heads), Units(neurons, no_neurons)


def _has_chat_template(folder: Path) -> bool:
    if (folder / f"{CHAT_TEMPLATE}.jinja").is_file():
        return True
    settings = folder / "tokenizer_config.json"
    return settings.is_file() and bool(read_json_object(settings).get(CHAT_TEMPLATE))


def _dtypes(stated: JsonObject, files: WeightFiles | None, stored: Iterable[str]) -> tuple[str, ...]:
    if files is None:
        name = stated.get("dtype", stated.get("torch_dtype"))
        return (name,) if isinstance(name, str) else ()
    counts = Counter(str(files.dtype(name)).removeprefix("torch.") for name in dict.fromkeys(stored))
    return tuple(name for name, _ in counts.most_common())
