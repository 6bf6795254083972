"""Title and first paragraph of a model card, from the catalog rows of a variant and its base model."""

from collections.abc import Mapping
from typing import Any, Literal

from mlprune.steps.export.markdown import cell

Row = Mapping[str, Any]
Form = Literal["zeros", "smaller", "published"]
"""Content of the folder: dense weights with zeros, weights without the removed units, or masks without weights."""


def method(row: Row) -> str | None:
    """What made the masks: a score, a combination or a choice of neurons; None for the dense variant."""
    name: str | None = row.get("combination") or row["score"] or (row.get("neurons") and row["structure"])
    return name


def is_permuted(row: Row) -> bool:
    """Whether the inputs of layers were permuted before N:M."""
    return bool((row.get("score_parameters") or {}).get("permute"))


def title(row: Row, base: Row) -> str:
    """The base model, and what was done to it in a few words."""
    name = method(row)
    bits = f"{row['bits']} bits" if row.get("bits") else None
    structure = None if name == row["structure"] else row["structure"]
    words = (name or "dense", f"{row['sparsity']:g}" if name else None, structure, bits)
    return f"{cell(base['source'])}: " + " ".join(word for word in words if word)


def introduction(row: Row, base: Row, *, form: Form) -> str:
    """What was removed and rounded, and what stayed."""
    source, quantised = cell(base["source"]), _quantisation_text(row)
    if not method(row):
        return f"The dense model `{source}` with {'quantised' if quantised else 'its original'} weights.{quantised}\n"
    share = f"{row['achieved_sparsity']:.2%}"
    changed = (
        " The remaining weights of the pruned layers have new values. They were computed in the dtype of the run, and "
        "rounded to the dtype of the base model's files if that is narrower."
        if row["weights_changed"] and not quantised
        else quantised
    )
    permuted = (
        f" The mask is {row['structure']} only after a permutation of the inputs of each layer; it is not applied here."
        if is_permuted(row)
        else ""
    )
    if row.get("biases_changed"):
        changed += " The biases of the layers after removed units have new values, which contain their mean outputs."
    if form == "smaller":
        return f"`{source}` without {share} of the weights in the linear layers of its blocks.{changed}\n"
    stored = "" if form == "published" else " The weights are stored densely, with zeros."
    return (
        f"`{source}` with {share} of the weights in the linear layers of its blocks set to exactly 0."
        f"{changed}{permuted} All other tensors, the config and the tokenizer are those of the base model.{stored}\n"
    )


def _quantisation_text(row: Row) -> str:
    """What happened to the weights of a quantised variant, beginning with a space; empty for other variants."""
    if not row.get("bits"):
        return ""
    return (
        " All weights of the linear layers of its blocks were rounded to the nearest level; there are "
        f"{2 ** row['bits']} levels for each group of {row['quantisation_group']} consecutive inputs of a row. The "
        "files contain the dequantised weights in the dtype of the base model's files, and are as large as those."
    )
