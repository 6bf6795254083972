"""Check a model against its family record and limits; heads and neurons as units of a block.

Limits of the sizes in a model's config: building a model of an absurd size takes hours or all memory.

The sizes are checked as the file states them, before the model library reads it: the configs of some families make a
list with an entry per block.

Find the family record of a model, check the model against it, and orient its weights.

All other modules work with blocks, layers and inputs, and never with a model class.

Units of a block: attention heads and feed-forward neurons, with their rows and columns in the weights.

A unit of heads is a group of query heads that share a key and a value head: one head, or with grouped-query attention
all query heads of a key head. It has rows of the query, key and value projections and columns of the output projection.
A neuron has rows of the layers before the activation and a column of the layer after it. Every prunable weight of a
block belongs to exactly one unit.
"""

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mlprune.errors import ModelError, unknown
from mlprune.json_values import JsonObject, JsonValue
from mlprune.models.families.records import FAMILIES, Family

MAX_BLOCKS = 1000
"""Largest number of blocks that is built; large models have about a hundred."""
MAX_WIDTH = 1 << 20
"""Largest number of features or heads; the widest layers have about 100,000 features."""
MAX_COUNT = 1 << 25
"""Largest vocabulary and number of positions; the longest published context has 10 million tokens."""
MAX_TABLE_ENTRIES = 1 << 32
"""Largest number of entries of a table of positions, which is computed and not read."""

_BLOCKS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers")
_HEADS = ("num_attention_heads", "num_key_value_heads", "attention_heads", "n_head")
_WIDTHS = ("hidden_size", "d_model", "n_embd", "n_embed", "intermediate_size", "ffn_dim", "n_inner", "head_dim")
_COUNTS = ("vocab_size", "max_position_embeddings", "n_positions", "n_ctx", "seq_length")
LIMITS: Mapping[str, int] = {
    **dict.fromkeys(_BLOCKS, MAX_BLOCKS),
    **dict.fromkeys((*_HEADS, *_WIDTHS), MAX_WIDTH),
    **dict.fromkeys(_COUNTS, MAX_COUNT),
}
"""Key of a config -> largest value."""
_COMPUTED_POSITIONS = ("xglm",)
"""Model types whose table of positions is computed: one row of features per position."""


def require_buildable(config: JsonObject) -> None:
    """Check the sizes in a config, and in the configs inside it.

    Raises:
        ValueError: a size is above its limit.
    """
    for key, value in _sizes(config):
        if value > LIMITS[key]:
            what = "blocks" if key in _BLOCKS else f"as {key}"
            raise ValueError(f"the config has {value} {what}; at most {LIMITS[key]} are built")
    if config.get("model_type") in _COMPUTED_POSITIONS:
        sizes = dict(_sizes(config))
        n_entries = sizes.get("max_position_embeddings", 0) * sizes.get("d_model", sizes.get("hidden_size", 0))
        if n_entries > MAX_TABLE_ENTRIES:
            raise ValueError(f"the table of positions has {n_entries} entries; at most {MAX_TABLE_ENTRIES} are built")


def _sizes(config: JsonObject) -> Iterator[tuple[str, int | float]]:
    """Yield (key, value) of all sizes in a config and in the configs inside it."""
    todo: list[JsonValue] = [config]
    while todo:
        value = todo.pop()
        if isinstance(value, Mapping):
            yield from ((key, size) for key, size in value.items() if key in LIMITS and isinstance(size, int | float))
            todo.extend(value.values())


RECORDS = "mlprune/models/families/records.py"
"""File of the records, for error messages."""
EXPERT_COUNTS = ("num_experts", "num_local_experts", "n_routed_experts")
"""Keys of a config with the number of experts of a block."""
OTHER_PARTS = ("vision_config", "audio_config", "text_config", "image_config", "speech_config")
"""Ends of the keys of a config that describe one of several parts of a multimodal model."""
ENCODER_DECODERS = ("t5", "bart", "m2m_100", "marian", "pegasus", "nllb-moe")
"""Ends of the types of models with an encoder and a decoder, whose configs may leave `is_encoder_decoder` out."""
ENCODERS = ("bert", "roberta", "roberta-xl", "electra", "deberta", "deberta-v2", "modernbert", "albert", "xlm")
"""Ends of the types of models that are encoders."""
TRANSPOSED = "Conv1D"
"""Name of the class of GPT-2's linear layers; importing the class would import all of transformers."""


def family_of_config(config: JsonObject) -> Family:
    """Return the family of the model that a config describes.

    Raises:
        ModelError: its type has no record, or could not have one: it is a mixture of experts, reads more than text, or
            is not a decoder.
    """
    model_type = str(config.get("model_type", ""))
    if model_type not in FAMILIES:
        _refuse_other_kinds(config, model_type)
    return family_of(model_type)


def _refuse_other_kinds(config: JsonObject, model_type: str) -> None:
    """Refuse models of a kind that no record can describe.

    Raises:
        ModelError: the model is of such a kind.
    """
    experts = {key: n for key in EXPERT_COUNTS if isinstance(n := config.get(key), int) and n > 1}
    if experts:
        raise ModelError(
            "mixtures of experts cannot be pruned: the weights of all experts of a block are one stack, and every "
            "expert reads the tokens that are routed to it",
            model_type=model_type,
            expected="a dense model (docs/models.md)",
            got=experts,
        )
    parts = sorted(key for key, value in config.items() if key.endswith(OTHER_PARTS) and isinstance(value, Mapping))
    if parts:
        raise ModelError(
            "multimodal models cannot be pruned: their text decoder is one of several parts",
            model_type=model_type,
            expected="a model that reads only text, such as the text-only checkpoint of the same size (docs/models.md)",
            got=parts,
        )
    is_encoder_decoder = bool(config.get("is_encoder_decoder")) or model_type.endswith(ENCODER_DECODERS)
    architectures = config.get("architectures")
    names = [str(name) for name in architectures] if isinstance(architectures, list) else []
    is_encoder = model_type.endswith(ENCODERS) or any(name.endswith("ForMaskedLM") for name in names)
    if is_encoder_decoder or is_encoder:
        raise ModelError(
            "only decoders can be pruned: the tasks here score and write texts from left to right",
            model_type=model_type,
            expected="a decoder (docs/models.md)",
            got="an encoder and a decoder" if is_encoder_decoder else "an encoder",
        )


def family_of(model_type: str) -> Family:
    """Return the family of a model type.

    Raises:
        ModelError: the type has no record.
    """
    family = FAMILIES.get(model_type)
    if family is None:
        next_step = "docs/models.md lists the supported models, and what an unsupported one needs"
        raise unknown("model type", model_type, sorted(FAMILIES), error=ModelError, next=next_step)
    return family


def oriented(weight: Tensor, family: Family) -> Tensor:
    """Return a view of a stored weight as [out, in], so that y = x @ view.T."""
    return weight.T if family.transposed else weight


def check_run(family: Family, expected: Iterable[str], observed: Container[str]) -> None:
    """Check that a block ran all layers of its family's record.

    Args:
        expected: layers, or inputs of layers.
        observed: what a listener received.
    Raises:
        ModelError: the block did not run a layer.
    """
    missing = [name for name in expected if name not in observed]
    if missing:
        message = f"a block did not run layers that its record in {RECORDS} lists"
        raise ModelError(message, family=family.name, missing=missing)


def check_frame(model: nn.Module, family: Family) -> None:
    """Check the modules around the blocks of a causal language model against its family's record.

    A shard runs only embeddings, blocks, final norm and head. Any other module (such as the projections after the last
    block of OPT-350m) would be skipped, and the results would be wrong.

    Raises:
        ModelError: the model lacks a module of the record, has parameters in other modules, or its head is not a linear
            layer.
    """
    named = (*family.embeddings, family.blocks, family.final_norm, family.head)
    missing = [path for path in named if not _has_module(model, path)]
    prefixes = tuple(f"{path}." for path in named)
    unlisted = [name for name, _ in model.named_parameters(remove_duplicate=False) if not name.startswith(prefixes)]
    if missing or unlisted:
        message = (
            f"the model differs from its family's record in {RECORDS}; this variant of the family is not supported"
        )
        raise ModelError(message, family=family.name, missing=missing, unlisted=unlisted, expected=named)
    head = model.get_submodule(family.head)
    if not isinstance(head, nn.Linear):
        got = type(head).__name__
        raise ModelError("the head of a model is not a linear layer", family=family.name, head=family.head, got=got)


def check_layers(block_module: nn.Module, family: Family, *, block: int) -> None:
    """Check a block against its family's record, so that no weight matrix silently stays unpruned.

    Parameters of one dimension (norms, biases) are not pruned; all others must be weights of listed layers.

    Raises:
        ModelError: the block has a weight matrix (or a stack of matrices, such as experts) that the record does not
            list, lacks a layer or the activation of the record, or stores a weight transposed.
    """
    linear_layers = {name: module for name, module in block_module.named_modules() if _is_linear_map(module)}
    weights = {f"{layer}.weight" for layer in family.layers}
    unlisted = sorted(
        f"{name} {tuple(parameter.shape)}"
        for name, parameter in block_module.named_parameters()
        if parameter.dim() > 1 and name not in weights
    )
    context = {"family": family.name, "block": block}
    if unlisted:
        message = (
            f"a block has weights of two or more dimensions that its record in {RECORDS} does not list: add linear "
            "layers to the record's `inputs`; other kinds (stacked experts, convolutions) cannot be pruned"
        )
        raise ModelError(message, **context, got=unlisted, expected=family.layers)
    missing = sorted(set(family.layers) - set(linear_layers))
    if missing:
        raise ModelError("a block lacks layers of its family's record", **context, missing=missing)
    if not _has_module(block_module, family.activation):
        raise ModelError("a block lacks the activation of its family's record", **context, missing=family.activation)
    wrongly_stored = [layer for layer in family.layers if _is_transposed(linear_layers[layer]) != family.transposed]
    if wrongly_stored:
        expected = "Conv1D, [in, out]" if family.transposed else "Linear, [out, in]"
        message = f"a block stores weights transposed, compared with its record in {RECORDS}"
        raise ModelError(message, **context, got=wrongly_stored, expected=expected)


def _is_linear_map(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or _is_transposed(module)


def _is_transposed(module: nn.Module) -> bool:
    return type(module).__name__ == TRANSPOSED


def _has_module(model: nn.Module, path: str) -> bool:
    """Whether a path names a module that is not None."""
    try:
        model.get_submodule(path)
    except AttributeError:
        return False
    return True


Shapes = Mapping[str, tuple[int, int]]
"""Layer -> (out, in)."""

HEAD_KEYS = ("num_attention_heads", "attention_heads", "n_head")
"""Keys of configs for the number of query heads."""


@dataclass(frozen=True)
class UnitLayout:
    """The units of one kind in a block."""

    kind: str
    """`heads` or `neurons`."""
    n_units: int
    rows: Mapping[str, Tensor]
    """Layer -> [out] int64, the unit of each output row."""
    output: str
    """The layer that reads the outputs of the units."""
    columns: Tensor
    """[in of `output`] int64, the unit of each of its columns."""
    unit_weights: int
    """Prunable weights of one unit."""

    def keep_masks(self, removed: Tensor, shapes: Shapes) -> dict[str, Tensor]:
        """Return layer -> bool [out, in], False for all weights of the removed units.

        Args:
            removed: [n_units] bool.
            shapes: of the layers.
        """
        kept = ~removed
        masks = {layer: kept[rows][:, None].expand(shapes[layer]) for layer, rows in self.rows.items()}
        return masks | {self.output: kept[self.columns][None, :].expand(shapes[self.output])}

    def without_outputs(self, output_mask: Tensor) -> Tensor:
        """Return [n_units] bool, True for units of whose columns the keep mask [out, in] keeps no weight."""
        n_kept = output_mask.any(dim=0).to(torch.int64)
        return torch.zeros(self.n_units, dtype=torch.int64).index_add_(0, self.columns, n_kept) == 0


def unit_layouts(family: Family, shapes: Shapes, config: JsonObject) -> tuple[UnitLayout, ...]:
    """Return the heads and the neurons of a block; only the neurons if single heads of the family cannot be removed.

    Args:
        shapes: of all layers of the block.
        config: of the model, as its file states it.
    Raises:
        ModelError: the config does not fit the shapes.
    """
    heads = () if family.heads == "joined" else (_heads(family, shapes, config),)
    return (*heads, _neurons(family, shapes))


def require_separable_heads(family: Family) -> None:
    """Check that single heads of a family can be removed.

    Raises:
        ModelError: they cannot.
    """
    if family.heads == "joined":
        message = "a norm over all heads together follows the query projection, so that single heads cannot be removed"
        raise ModelError(message, family=family.name)


def n_attention_heads(config: JsonObject) -> int:
    """Return the number of query heads of a config.

    Raises:
        ModelError: it has none.
    """
    n_heads = next((config[key] for key in HEAD_KEYS if isinstance(config.get(key), int)), None)
    if not isinstance(n_heads, int) or n_heads < 1:
        raise ModelError("a config has no number of attention heads", expected=list(HEAD_KEYS))
    return n_heads


def _heads(family: Family, shapes: Shapes, config: JsonObject) -> UnitLayout:
    (output,) = family.inputs[1]
    n_heads, layers = n_attention_heads(config), family.inputs[0]
    d_queries = shapes[output][1]
    d_keys = (sum(shapes[layer][0] for layer in layers) - d_queries) // 2
    width = d_queries // n_heads
    n_groups = d_keys // width if width else 0
    if not n_groups or n_heads % n_groups or n_heads * width != d_queries or n_groups * width != d_keys:
        got = {layer: shapes[layer] for layer in (*layers, output)}
        raise ModelError("the number of heads does not fit the weights", family=family.name, expected=n_heads, got=got)
    queries = torch.arange(n_groups).repeat_interleave(width * (n_heads // n_groups))
    keys = torch.arange(n_groups).repeat_interleave(width)
    if family.heads == "interleaved":
        rows = {layers[0]: torch.arange(n_heads).repeat_interleave(3 * width)}
    elif len(layers) == 1:
        rows = {layers[0]: torch.cat([queries, keys, keys])}
    else:
        rows = dict(zip(layers, (queries, keys, keys), strict=True))
    return _layout("heads", n_groups, rows=rows, columns=queries, output=output, shapes=shapes)


def _neurons(family: Family, shapes: Shapes) -> UnitLayout:
    before, output = family.feed_forward
    n_neurons = shapes[output][1]
    rows = {}
    for layer in before:
        n_parts, rest = divmod(shapes[layer][0], n_neurons)
        if rest or not n_parts:
            got = {name: shapes[name] for name in (*before, output)}
            raise ModelError("feed-forward layers do not fit each other", family=family.name, got=got)
        rows[layer] = torch.arange(n_neurons).repeat(n_parts)
    return _layout("neurons", n_neurons, rows=rows, columns=torch.arange(n_neurons), output=output, shapes=shapes)


def _layout(
    kind: str, n_units: int, *, rows: Mapping[str, Tensor], columns: Tensor, output: str, shapes: Shapes
) -> UnitLayout:
    n_weights = sum(shapes[layer][0] * shapes[layer][1] for layer in (*rows, output))
    return UnitLayout(kind, n_units, rows, output, columns, n_weights // n_units)
