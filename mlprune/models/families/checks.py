"""Find the family record of a model, check the model against it, and orient its weights.

All other modules work with blocks, layers and inputs, and never with a model class.
"""

from collections.abc import Container, Iterable, Mapping

from torch import Tensor, nn

from mlprune.errors import ModelError, unknown
from mlprune.json_values import JsonObject
from mlprune.models.families.records import FAMILIES, Family

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
