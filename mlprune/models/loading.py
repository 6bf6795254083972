"""Loading base models: from a name to a folder, its tokenizer and its facts. The model itself is in `parts`.

Facts of a model that take seconds to find are remembered from one process to the next (`facts`), so that planning a
recipe whose work is done builds no model and imports no library of models.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlprune.errors import HubError, ModelError
from mlprune.hub import snapshot
from mlprune.models.checkpoint.weight_files import (
    DTYPES,
    TOKENIZER_FILES,
    WeightFiles,
    content_hashes,
    family_at,
    read_block,
    weight_name,
)
from mlprune.models.metadata_cache import cached_metadata

__all__ = [
    "ModelInfo",
    "WeightFiles",
    "check_tokenizer",
    "family_at",
    "inspect_model",
    "load_tokenizer",
    "read_block",
    "resolve_model",
]

HUB_FILES = ("config.json", "generation_config.json", "*.safetensors", "*.safetensors.index.json", *TOKENIZER_FILES)
"""What is fetched from a hub: never pickles, never code."""


@dataclass(frozen=True)
class ModelInfo:
    """What is known of a base model before any weight is loaded."""

    path: Path
    family: str
    n_blocks: int
    hidden_size: int
    n_prunable: int
    """Weights in the linear maps of all blocks."""
    max_positions: int | None
    """Longest text the model has positions for; None where its positions have no end (BLOOM's alibi).

    Where rotary frequencies change with the length of the longest text of a batch (`longrope` of Phi-3), the length up
    to which they do not: a text's numbers must not depend on what else is in its batch.
    """
    content: Mapping[str, str]
    """File name -> SHA-256 of config, tokenizer and weight files."""


def resolve_model(path_or_hub_id: str, revision: str = "main") -> Path:
    """The local folder of a model: the folder itself, or a hub model fetched into the hub's cache.

    Raises:
        ModelError: there is no such folder, and the hub has no such model or cannot be reached.
    """
    folder = Path(path_or_hub_id).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists() or folder.is_absolute() or path_or_hub_id.startswith((".", "~")):
        got = "a file" if folder.exists() else "nothing"
        raise ModelError("the model is no folder", path=path_or_hub_id, expected="a model folder", got=got)
    try:
        return snapshot(path_or_hub_id, kind="model", revision=revision, files=HUB_FILES)
    except HubError as err:
        raise ModelError(f"the model is no local folder and {err.message}", err.context) from err


def load_tokenizer(path: Path) -> Any:
    """The tokenizer of a model folder, from local files only.

    Raises:
        ModelError: there is none that can be read, or it has no end-of-sequence token.
    """
    from transformers import AutoTokenizer  # noqa: PLC0415 - a second, and a finished recipe needs no tokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(path), local_files_only=True, trust_remote_code=False)
    except Exception as err:  # the library raises whatever its parsers raise, bare Exception included
        raise ModelError("the tokenizer cannot be read", path=str(path), reason=_first_line(err)) from err
    if tokenizer.eos_token_id is None:
        raise ModelError("the tokenizer has no end-of-sequence token", path=str(path), expected="an eos_token")
    return tokenizer


def check_tokenizer(path: Path) -> None:
    """Hold the tokenizer of a model folder against what `load_tokenizer` asks of it.

    Raises:
        ModelError: as there.
    """
    cached_metadata(path, "tokenizer", lambda: {"eos_token_id": load_tokenizer(path).eos_token_id})


def inspect_model(path: Path) -> ModelInfo:
    """Facts of a model, checked against the headers of its weight files; no weight is loaded.

    Raises:
        ModelError: the folder is not one we read, its family has no record or a record that does not fit, or its
            weights lack a prunable tensor or have it in another shape than the config says.
    """
    return ModelInfo(path=path, **cached_metadata(path, "model", lambda: _inspected(path)))


def _inspected(path: Path) -> dict[str, Any]:
    """All of `ModelInfo` but the path."""
    from mlprune.models.meta_model import check_shape, checked_blocks, skeleton  # noqa: PLC0415 - imports all of the model's code

    family = family_at(path)
    files = WeightFiles(path, family)
    model = skeleton(path, DTYPES["float32"])
    blocks = checked_blocks(model, family)
    n_prunable = 0
    for block, module in enumerate(blocks):
        for layer in family.layers:
            expected = tuple(module.get_submodule(layer).get_parameter("weight").shape)
            check_shape(files.shape(weight_name(family, block, layer)), expected, weight_name(family, block, layer))
            n_prunable += expected[0] * expected[1]
    config = model.config
    return {
        "family": family.name,
        "n_blocks": len(blocks),
        "hidden_size": int(config.hidden_size),
        "n_prunable": n_prunable,
        "max_positions": _max_positions(config),
        "content": content_hashes(path, files),
    }


def _max_positions(config: Any) -> int | None:
    longest: int | None = getattr(config, "max_position_embeddings", None)
    rope = getattr(config, "rope_parameters", None) or {}
    if longest is not None and rope.get("rope_type") == "longrope":
        return min(longest, int(rope["original_max_position_embeddings"]))
    return longest


def _first_line(err: Exception) -> str:
    return str(err).strip().split("\n", maxsplit=1)[0] or type(err).__name__
