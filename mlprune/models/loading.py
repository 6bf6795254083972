"""Loading base models: from a name to a folder, its tokenizer, its facts, and the part of it that one shard runs.

Weights come from safetensors files only, one tensor at a time; code that a model folder brings along is never run.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from mlprune.errors import HubError, ModelError
from mlprune.hub import snapshot
from mlprune.models.checkpoint import (
    DTYPES,
    TOKENIZER_FILES,
    WeightFiles,
    content_hashes,
    family_at,
    read_block,
    weight_name,
)
from mlprune.models.extents import extent_of
from mlprune.models.families import Family, check_frame, check_layers
from mlprune.models.lookups import look_rows_up
from mlprune.terms import DtypeName

__all__ = [
    "ModelInfo",
    "ModelParts",
    "WeightFiles",
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
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(path), local_files_only=True, trust_remote_code=False)
    except Exception as err:  # the library raises whatever its parsers raise, bare Exception included
        raise ModelError("the tokenizer cannot be read", path=str(path), reason=_first_line(err)) from err
    if tokenizer.eos_token_id is None:
        raise ModelError("the tokenizer has no end-of-sequence token", path=str(path), expected="an eos_token")
    return tokenizer


def inspect_model(path: Path) -> ModelInfo:
    """Facts of a model, checked against the headers of its weight files; no weight is loaded.

    Raises:
        ModelError: the folder is not one we read, its family has no record or a record that does not fit, or its
            weights lack a prunable tensor or have it in another shape than the config says.
    """
    family = family_at(path)
    files = WeightFiles(path, family)
    model = skeleton(path, DTYPES["float32"])
    blocks = _checked_blocks(model, family)
    n_prunable = 0
    for block, module in enumerate(blocks):
        for layer in family.layers:
            expected = tuple(module.get_submodule(layer).get_parameter("weight").shape)
            _check_shape(files.shape(weight_name(family, block, layer)), expected, weight_name(family, block, layer))
            n_prunable += expected[0] * expected[1]
    config = model.config
    return ModelInfo(
        path=path,
        family=family.name,
        n_blocks=len(blocks),
        hidden_size=int(config.hidden_size),
        n_prunable=n_prunable,
        max_positions=_max_positions(config),
        content=content_hashes(path, files),
    )


class ModelParts:
    """A causal language model on the meta device, whose tensors are put in place and taken away part by part.

    Buffers are computed by the model's own code and stay.

    Args:
        path: model folder.
        dtype: of the weights once they are there, whatever the checkpoint's is.
    Raises:
        ModelError: the folder is not one we read, or its model does not fit its family's record.
    """

    def __init__(self, path: Path, dtype: DtypeName) -> None:
        self.family = family_at(path)
        self.path = path
        self.dtype: DtypeName = dtype
        self.model: Any = skeleton(path, DTYPES[dtype])
        _checked_blocks(self.model, self.family)
        self.model.eval()
        self._without = dict(self.model.named_parameters(remove_duplicate=False))

    def names_in(self, module: str) -> list[str]:
        """Names of the parameters of a module of the model."""
        return [name for name in self._without if name.startswith(f"{module}.")]

    def fill(self, names: Iterable[str], *, device: torch.device | None = None, copies: bool = False) -> None:
        """Read parameters from the checkpoint and put them in place; what is tied among them is there once.

        Args:
            device: where they go; the CPU by default.
            copies: into memory of their own, the file is not mapped.
        Raises:
            ModelError: a tensor is missing or has the wrong shape.
        """
        files, dtype = WeightFiles(self.path, self.family), DTYPES[self.dtype]
        filled: dict[str, nn.Parameter] = {}
        for name in names:
            source = source_of(name, self.model, files)
            if source not in filled:
                value = files.copied(source, dtype) if copies else files.read(source, dtype)
                _check_shape(tuple(value.shape), tuple(self._without[name].shape), source)
                filled[source] = nn.Parameter(value if device is None else value.to(device), requires_grad=False)
            _set_tensor(self.model, name, filled[source])

    def leave_rows(self, module: str) -> list[str]:
        """Leave the token embedding in the checkpoint, if it is this module; see `look_rows_up`.

        Returns: the parameters that are left there, and need not be filled any more to run the module on the CPU.
        Raises:
            ModelError: the tensor is missing or has the wrong shape.
        """
        embedding, name = self.model.get_submodule(module), f"{module}.weight"
        if embedding is not self.model.get_input_embeddings():
            return []
        files = WeightFiles(self.path, self.family)
        file, stored = files.place(source_of(name, self.model, files))
        extent = extent_of(self.path / file, stored)
        if extent.dtype is None:
            return []
        _check_shape(extent.shape, tuple(embedding.weight.shape), stored)
        look_rows_up(embedding, self.path / file, extent, DTYPES[self.dtype])
        return [name]

    def empty(self, names: Iterable[str]) -> None:
        """Take parameters away again."""
        for name in names:
            _set_tensor(self.model, name, self._without[name])


def skeleton(path: Path, dtype: torch.dtype) -> Any:
    """The model without weights, every parameter on the meta device, buffers real."""
    try:
        config = AutoConfig.from_pretrained(str(path), local_files_only=True, trust_remote_code=False)
        with init_empty_weights(include_buffers=False):
            return AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=False)
    except Exception as err:  # a wrong config fails in whatever way the model's code fails on it
        raise ModelError("the model's config cannot be used", path=str(path), reason=_first_line(err)) from err


def _checked_blocks(model: nn.Module, family: Family) -> list[nn.Module]:
    check_frame(model, family)
    blocks = list(model.get_submodule(family.blocks).children())
    for block, module in enumerate(blocks):
        check_layers(module, family, block=block)
    return blocks


def _max_positions(config: Any) -> int | None:
    longest: int | None = getattr(config, "max_position_embeddings", None)
    rope = getattr(config, "rope_parameters", None) or {}
    if longest is not None and rope.get("rope_type") == "longrope":
        return min(longest, int(rope["original_max_position_embeddings"]))
    return longest


def own_tensors(model: nn.Module, family: Family, blocks: range) -> Iterator[tuple[str, Tensor]]:
    """Names and shapes of the parameters that the shard of these blocks needs; tied ones under each of their names."""
    n_blocks = len(list(model.get_submodule(family.blocks).children()))
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if name.startswith(f"{family.blocks}."):
            own = int(name.removeprefix(f"{family.blocks}.").split(".")[0]) in blocks
        elif name.startswith((f"{family.final_norm}.", f"{family.head}.")):
            own = blocks.stop == n_blocks
        else:
            own = blocks.start == 0
        if own:
            yield name, parameter


def source_of(name: str, model: Any, files: WeightFiles) -> str:
    """The name under which the checkpoint holds a parameter: of two tied ones it holds one."""
    tied: dict[str, str] = model.all_tied_weights_keys
    alias = {**{source: target for target, source in tied.items()}, **tied}.get(name)
    return alias if alias is not None and not files.has(name) else name


def _set_tensor(model: nn.Module, name: str, parameter: nn.Parameter) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(parent), leaf, parameter)


def _check_shape(got: tuple[int, ...], expected: tuple[int, ...], name: str) -> None:
    if got != expected:
        raise ModelError("a tensor does not fit the config", tensor=name, expected=expected, got=got)


def _first_line(err: Exception) -> str:
    return str(err).strip().split("\n", maxsplit=1)[0] or type(err).__name__
