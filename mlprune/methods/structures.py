"""Structures: comparison groups, of whose weights a share is removed."""

import re
from collections.abc import Mapping
from dataclasses import replace

from mlprune.methods.method import WANDA, Structure

OF_WEIGHTS = ("row", "matrix", "alpha", "N:M")
"""Structures of single weights."""
OF_DEPTH = ("blocks", "sublayers")
"""Structures of whole blocks and sub-layers."""
OF_EXPERTS = ("experts", "all_experts")
"""Structures of whole experts."""
_N_M = re.compile(r"(\d+):(\d+)")
_EXPERTS = Structure(
    "experts of a block, which are removed as a whole",
    masks_nest=False,
    of_model=True,
    reads_features=False,
    token_scopes=("all", "source", "target"),
    counts="expert",
)
_KEYS_OF_DEPTH = frozenset(
    (
        "name",
        "against",
        "score",
        "structure",
        "sparsity",
        "demonstrations",
        "propagation",
        "seed",
        "scope",
        "keep",
        "recover",
    )
)
STRUCTURES: Mapping[str, Structure] = {
    "row": Structure("an output row of the weight"),
    "matrix": Structure("the whole matrix"),
    "alpha": Structure("an output row, by a share of the sum of its scores", citation=WANDA, masks_nest=False),
    "units": Structure(
        "attention heads and neurons of all blocks together", masks_nest=False, of_model=True, aggregation="pooled"
    ),
    "blocks": Structure("blocks of the model, which are removed as a whole", of_model=True, keys=_KEYS_OF_DEPTH),
    "sublayers": Structure(
        "attention and feed-forward sub-layers of blocks, which are removed as a whole",
        masks_nest=False,
        of_model=True,
        keys=_KEYS_OF_DEPTH | {"bits", "quantisation_group", "quantise", "reconstruct"},
    ),
    "experts": _EXPERTS,
    "all_experts": replace(_EXPERTS, summary="experts of all blocks together"),
    "N:M": Structure("M consecutive inputs of a row, of which N are removed"),
}


def pattern_of(structure: str) -> tuple[int, int] | None:
    """Return N and M of a structure such as `2:4`; None for the other structures."""
    found = _N_M.fullmatch(structure)
    return (int(found[1]), int(found[2])) if found else None


def structure_of(name: str) -> Structure:
    """Return the structure of a name such as `row` or `2:4`."""
    return STRUCTURES["N:M" if ":" in name else name]
