"""Model families at work: finding the record of a model, holding a model against it, and which way weights lie.

Everything else in this project speaks of blocks, layers and inputs and never of a model class. The records themselves
are in `records.py`; loading and running belong to the neighbours.
"""

from dataclasses import fields

from torch import Tensor, nn

from mlprune.errors import ModelError, unknown
from mlprune.models.families.records import FAMILIES, Family

__all__ = ["FAMILIES", "Family", "check_frame", "check_layers", "family_of", "oriented"]

RECORDS = "mlprune/models/families/records.py"
"""Where a user writes a record, for messages."""
TRANSPOSED = "Conv1D"
"""The class of GPT-2's linear maps, by name: importing it takes as long as all of its library."""


def family_of(model_type: str) -> Family:
    """The family of a model type.

    Raises:
        ModelError: there is no record for it.
    """
    family = FAMILIES.get(model_type)
    if family is None:
        what = f"model type: it needs a record in {RECORDS} (docs/models.md says how to write one)"
        record = [field.name for field in fields(Family)]
        raise unknown(what, model_type, sorted(FAMILIES), error=ModelError, record=record)
    return family


def oriented(weight: Tensor, family: Family) -> Tensor:
    """A view of a stored weight as [out, in], so that y = x @ view.T."""
    return weight.T if family.transposed else weight


def check_frame(model: nn.Module, family: Family) -> None:
    """Hold what is around the blocks of a causal language model against its family's record.

    A shard runs embeddings, blocks, final norm and head and nothing else: whatever else computes (OPT-350m's maps
    behind the last block, say) would be left out and the numbers be wrong.

    Raises:
        ModelError: the model lacks a module that the record names, has parameters outside of them, or a head that is
            no linear layer.
    """
    named = (*family.embeddings, family.blocks, family.final_norm, family.head)
    missing = [path for path in named if not _has_module(model, path)]
    places = tuple(f"{path}." for path in named)
    unlisted = [name for name, _ in model.named_parameters(remove_duplicate=False) if not name.startswith(places)]
    if missing or unlisted:
        message = (
            f"a model of this type is not built as its record in {RECORDS} says; such a variant of the family cannot "
            "be run here"
        )
        raise ModelError(message, family=family.name, missing=missing, unlisted=unlisted, expected=named)
    head = model.get_submodule(family.head)
    if not isinstance(head, nn.Linear):
        got = type(head).__name__
        raise ModelError("the head of a model is no linear layer", family=family.name, head=family.head, got=got)


def check_layers(block_module: nn.Module, family: Family, *, block: int) -> None:
    """Hold a block against its family's record, so that no weight matrix stays unpruned without a word.

    Parameters of one dimension (norms, biases) are harmless; all others have to be the weights of listed layers.

    Raises:
        ModelError: the block has a weight matrix (or a stack of them, as experts are) that the record does not list,
            lacks a layer or the activation that it names, or stores a weight the other way round.
    """
    found = {name: module for name, module in block_module.named_modules() if _is_linear_map(module)}
    weights = {f"{layer}.weight" for layer in family.layers}
    unlisted = sorted(
        f"{name} {tuple(parameter.shape)}"
        for name, parameter in block_module.named_parameters()
        if parameter.dim() > 1 and name not in weights
    )
    context = {"family": family.name, "block": block}
    if unlisted:
        message = (
            f"a block has weights of two or more dimensions that its record in {RECORDS} does not list: linear maps "
            "are added to the record's `inputs`, anything else (stacked experts, convolutions) cannot be pruned here"
        )
        raise ModelError(message, **context, got=unlisted, expected=family.layers)
    missing = sorted(set(family.layers) - set(found))
    if missing:
        raise ModelError("a block lacks layers of its family", **context, missing=missing)
    if not _has_module(block_module, family.activation):
        raise ModelError("a block lacks the activation of its family", **context, missing=family.activation)
    turned = [layer for layer in family.layers if _is_transposed(found[layer]) != family.transposed]
    if turned:
        expected = "Conv1D, [in, out]" if family.transposed else "Linear, [out, in]"
        message = f"a block stores weights the other way round than its record in {RECORDS} says"
        raise ModelError(message, **context, got=turned, expected=expected)


def _is_linear_map(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or _is_transposed(module)


def _is_transposed(module: nn.Module) -> bool:
    return type(module).__name__ == TRANSPOSED


def _has_module(model: nn.Module, path: str) -> bool:
    """Whether a path names a module; one that is None does not count."""
    try:
        model.get_submodule(path)
    except AttributeError:
        return False
    return True
