"""A model built without its weights, and the parts of it that one shard runs, put in place tensor by tensor.

Weights come from safetensors files only; code that a model folder brings along is never run.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from mlprune.errors import ModelError
from mlprune.models.checkpoint.tensor_slices import tensor_slice
from mlprune.models.checkpoint.weight_files import DTYPES, WeightFiles, family_at
from mlprune.models.families.checks import check_frame, check_layers
from mlprune.models.families.records import Family
from mlprune.models.placement.row_embedding import read_rows_on_demand
from mlprune.vocabulary import DtypeName


class MetaModel:
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
        checked_blocks(self.model, self.family)
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
                check_shape(tuple(value.shape), tuple(self._without[name].shape), source)
                filled[source] = nn.Parameter(value if device is None else value.to(device), requires_grad=False)
            _set_tensor(self.model, name, filled[source])

    def leave_rows(self, module: str) -> list[str]:
        """Leave the token embedding in the checkpoint, if it is this module; see `read_rows_on_demand`.

        Returns: the parameters that are left there, and need not be filled any more to run the module on the CPU.
        Raises:
            ModelError: the tensor is missing or has the wrong shape.
        """
        embedding, name = self.model.get_submodule(module), f"{module}.weight"
        if embedding is not self.model.get_input_embeddings():
            return []
        files = WeightFiles(self.path, self.family)
        file, stored = files.place(source_of(name, self.model, files))
        extent = tensor_slice(self.path / file, stored)
        if extent.dtype is None:
            return []
        check_shape(extent.shape, tuple(embedding.weight.shape), stored)
        read_rows_on_demand(embedding, self.path / file, extent, DTYPES[self.dtype])
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
        reason = str(err).strip().partition("\n")[0] or type(err).__name__
        raise ModelError("the model's config cannot be used", path=str(path), reason=reason) from err


def checked_blocks(model: nn.Module, family: Family) -> list[nn.Module]:
    """The blocks of a model, which is held against its family's record.

    Raises:
        ModelError: it is not built as that says.
    """
    check_frame(model, family)
    blocks = list(model.get_submodule(family.blocks).children())
    for block, module in enumerate(blocks):
        check_layers(module, family, block=block)
    return blocks


def shard_parameters(model: nn.Module, family: Family, blocks: range) -> Iterator[tuple[str, Tensor]]:
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


def check_shape(got: tuple[int, ...], expected: tuple[int, ...], name: str) -> None:
    """Hold the shape of a stored tensor against that of the model's.

    Raises:
        ModelError: they differ.
    """
    if got != expected:
        raise ModelError("a tensor does not fit the config", tensor=name, expected=expected, got=got)
