"""Outcome of every causal model type: what was found in its blocks, or why it is refused.

`python -m tests.type_outcomes` writes the outcomes into the file that docs/reference/models.md is made from.
"""

import json
import sys
import tempfile
from pathlib import Path

import torch
import transformers

from infra.pages.model_reference import OUTCOMES
from mlprune.errors import ModelError, reason_of
from mlprune.json_values import JsonObject
from mlprune.models.architecture.architecture import Architecture, BlockArchitecture
from mlprune.models.architecture.lookup import architecture_of
from tests.smaller_checks import check_smaller
from tests.tiny_types import CAUSAL_TYPES, NO_TINY_CONFIG, VARIANTS, save_tiny_model_of, tiny_config_of
from tests.type_checks import check_model

NAMES = (*CAUSAL_TYPES, *VARIANTS)
TOLERANCES = {"kimi_linear, no experts": 2e-5, "llama4_text": 2e-5}
"""Tolerance of logits if not 1e-5: sums over other chunks of a padded batch, or over experts in another order."""
UNCHECKED = "not checked: no tiny model of the type could be made"


def outcome_of(name: str, folder: Path, *, margin: float = 1.0) -> JsonObject:
    """Check the tiny model of a type.

    Args:
        name: a model type or the name of a variant.
        folder: an empty folder.
        margin: factor of the tolerances.
    Raises:
        AssertionError: mlprune accepts the model and computes something else than transformers.
    """
    try:
        if name in NO_TINY_CONFIG:
            architecture = architecture_of({"model_type": name})
        else:
            architecture = architecture_of(json.loads(tiny_config_of(name).to_json_string(use_diff=False)))
    except ModelError as err:
        return {"refused": err.message}
    if name in NO_TINY_CONFIG:
        return {"refused": UNCHECKED}
    save_tiny_model_of(folder / "model", name)
    atol = margin * TOLERANCES.get(name, 1e-5)
    architecture = check_model(folder / "model", folder / "masked", atol=atol)
    if any(kind.experts is not None for kind in architecture.kinds):
        return {"experts": True, **_description(architecture)}  # other tests make models with fewer experts
    check_smaller(folder / "model", folder, architecture, atol=atol)
    return _description(architecture)


def _description(architecture: Architecture) -> JsonObject:
    kinds = architecture.kinds
    with_attention = [kind for kind in kinds if kind.attention is not None]
    return {
        "blocks": list(dict.fromkeys(map(_kind, kinds))),
        "heads": bool(with_attention) and all(kind.heads in {"blocked", "interleaved"} for kind in with_attention),
        "neurons": any(kind.feed_forward is not None for kind in kinds),
        "dense": sorted({parameter.name for kind in kinds for parameter in kind.dense}),
    }


def _kind(kind: BlockArchitecture) -> str:
    has_part = {
        "attention": kind.attention is not None,
        "recurrence": kind.is_recurrent and bool(kind.dense),
        "feed-forward": kind.feed_forward is not None,
        "experts": kind.experts is not None,
    }
    return " + ".join(part for part, is_there in has_part.items() if is_there) or "other"


def main() -> None:
    """Check all types and write their outcomes, unless a type fails."""
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    outcomes: dict[str, JsonObject] = {}
    failed: dict[str, str] = {}
    for name in NAMES:
        with tempfile.TemporaryDirectory() as folder:
            try:
                outcomes[name] = outcome_of(name, Path(folder))
            except Exception as err:
                failed[name] = reason_of(err)
    if failed:
        sys.exit("\n".join(f"{name}: {reason}" for name, reason in failed.items()))
    value = {"transformers": transformers.__version__, "outcomes": outcomes}
    OUTCOMES.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
