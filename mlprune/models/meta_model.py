"""Build a model without its weights, and load or drop its parameters one by one.

Weights are read from safetensors files only; code in a model folder never runs.

Token embeddings stay in the checkpoint, and rows are read on demand: the token embedding is the largest tensor of a
multilingual model (256,008 rows in XGLM), and a batch needs some hundred rows of it. Mapping the file would take almost
as much memory as loading it, since the system also reads the neighbours of every row. The model's own code still scales
the rows or adds positions to them.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from accelerate import init_empty_weights
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.initialization import no_init_weights

from mlprune.errors import ModelError, reason_of
from mlprune.models.architecture.architecture import Architecture
from mlprune.models.architecture.config_checks import check_rope_types, require_buildable
from mlprune.models.checkpoint.tensor_slices import TensorSlice, read_rows, tensor_slice
from mlprune.models.checkpoint.weight_files import DTYPES, TensorFiles, WeightFiles, architecture_at, read_json_object
from mlprune.models.experts import split_experts, stacked_weight
from mlprune.models.masks.changed_embeddings import NEW_ROWS, READS_ROWS
from mlprune.models.scaled_experts import prepare_scaled_experts
from mlprune.vocabulary import DtypeName

MOVE_TOKENS = ("llama4_text",)
"""Model types whose code moves tokens to the device of the embedding's weight, which cannot be the meta device then."""


def read_rows_on_demand(embedding: nn.Embedding, file: Path, stored: TensorSlice, dtype: torch.dtype) -> None:
    """Let an embedding read its rows from a file: during its forward, the weight contains only the requested rows.

    Only one thread at a time may run it. Its inputs and outputs are on the CPU.

    Args:
        embedding: its weight may be on the meta device, and stays there.
        file: safetensors file.
        stored: position of the weight in the file, [n, d] of a plain float type.
        dtype: dtype of the rows in memory.
    """
    placeholder = embedding.weight
    embedding.padding_idx = None  # only backward reads it, and torch rejects one above the number of rows in memory

    def load_rows(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        token_ids, *remaining = inputs
        rows, row_of_token = torch.unique(token_ids, return_inverse=True)
        new = vars(embedding).get(NEW_ROWS)
        values = _read(file, stored, rows) if new is None else new[rows]
        embedding.weight = nn.Parameter(values.to(dtype), requires_grad=False)
        return row_of_token, *remaining

    def drop_rows(_module: nn.Module, _inputs: object, _output: object) -> None:
        embedding.weight = placeholder

    vars(embedding)[READS_ROWS] = True
    embedding.register_forward_pre_hook(load_rows)
    embedding.register_forward_hook(drop_rows, always_call=True)


def _read(file: Path, stored: TensorSlice, rows: Tensor) -> Tensor:
    """Read rows of the embedding, [k, d] in the dtype of the file.

    Raises:
        ModelError: a token has no row, or the checkpoint no longer has the rows.
    """
    n_rows = stored.shape[0]
    if len(rows) and not 0 <= int(rows[0]) <= int(rows[-1]) < n_rows:
        invalid_id = int(rows[-1] if rows[-1] >= n_rows else rows[0])
        raise ModelError(
            "a token has no row in the embedding", path=str(file), expected=f"0 to {n_rows - 1}", got=invalid_id
        )
    try:
        return read_rows(file, stored, rows.tolist())
    except (OSError, EOFError) as err:
        reason = getattr(err, "strerror", None) or str(err)
        raise ModelError("rows of the embedding cannot be read", path=str(file), reason=reason) from err


class MetaModel:
    """A causal language model on the meta device, whose parameters are loaded and dropped by name.

    The model's own code computes the buffers, which are never dropped.

    Args:
        path: model folder.
        dtype: dtype of the loaded weights, which may differ from that of the checkpoint.
    Raises:
        ModelError: the folder is not a model that can be read, or cannot be pruned.
    """

    def __init__(self, path: Path, dtype: DtypeName) -> None:
        self.architecture = architecture_at(path)
        self.path = path
        self.dtype: DtypeName = dtype
        self.model = build_skeleton(path, DTYPES[dtype])
        self.model.eval()
        files = WeightFiles(path, self.architecture)
        _share_tied(self.model, files)
        _read_stored_buffers(self.model, files)
        self._placeholders = dict(self.model.named_parameters(remove_duplicate=False))

    def names_in(self, module: str) -> list[str]:
        """Return the names of the parameters of a module of the model."""
        return [name for name in self._placeholders if name.startswith(f"{module}.")]

    def load(self, names: Iterable[str], *, device: torch.device | None = None, copies: bool = False) -> None:
        """Load parameters from the checkpoint; tied parameters share one tensor.

        Args:
            device: device of the parameters; the CPU by default.
            copies: read into new memory instead of mapping the file.
        Raises:
            ModelError: a tensor is missing or has the wrong shape.
        """
        files, dtype = WeightFiles(self.path, self.architecture), DTYPES[self.dtype]
        loaded: dict[str, nn.Parameter] = {}
        for name in names:
            source = source_of(name, self.model, files)
            if source not in loaded:
                value = files.copy(source, dtype) if copies else files.read(source, dtype)
                check_shape(tuple(value.shape), tuple(self._placeholders[name].shape), source)
                if device is not None:
                    slice_of_stack = stacked_weight(self.model, name, value, device)
                    value = value.to(device) if slice_of_stack is None else slice_of_stack
                loaded[source] = nn.Parameter(value, requires_grad=False)
            _set_parameter(self.model, name, loaded[source])

    def keep_embedding_on_disk(self, module: str) -> list[str]:
        """Keep a module on disk if it is the token embedding; see `read_rows_on_demand`.

        Returns: names of the parameters that do not have to be loaded to run the module on the CPU.
        Raises:
            ModelError: the tensor is missing or has the wrong shape.
        """
        embedding, name = self.model.get_submodule(module), f"{module}.weight"
        if embedding is not self.model.get_input_embeddings():
            return []
        files = WeightFiles(self.path, self.architecture)
        file, source = files.locate(source_of(name, self.model, files))
        stored = tensor_slice(self.path / file, source)
        if stored.dtype is None:
            return []
        check_shape(stored.shape, tuple(embedding.weight.shape), source)
        if self.architecture.name in MOVE_TOKENS:
            embedding.weight = nn.Parameter(torch.empty(0, stored.shape[1]), requires_grad=False)
        read_rows_on_demand(embedding, self.path / file, stored, DTYPES[self.dtype])
        return [name]

    def drop(self, names: Iterable[str]) -> None:
        """Drop loaded parameters."""
        for name in names:
            _set_parameter(self.model, name, self._placeholders[name])


def build_skeleton(path: Path, dtype: torch.dtype) -> PreTrainedModel:
    """Build the model of a folder without weights: parameters on the meta device, buffers real.

    The library chooses the implementation of attention and experts. One that the config names is ignored: it may be a
    repository on the hub, whose compiled code would be downloaded and run.

    Raises:
        ModelError: the model's code rejects the config, or a size in it is absurd.
    """
    try:
        stated = read_json_object(path / "config.json")
        require_buildable(stated)
        check_rope_types(stated)
        config = AutoConfig.from_pretrained(str(path), local_files_only=True, trust_remote_code=False)
        return skeleton_of(config, dtype)
    except ModelError:
        raise
    except Exception as err:  # a wrong config can raise anything in the model's code
        raise ModelError("the model's config cannot be used", path=str(path), reason=reason_of(err)) from err


def skeleton_of(config: PretrainedConfig, dtype: torch.dtype) -> PreTrainedModel:
    """Build the model of a config as `build_skeleton` does.

    Raises:
        Exception: any error of the model's code.
    """
    chosen_here = {"attn_implementation": None, "experts_implementation": None}
    with init_empty_weights(include_buffers=False), no_init_weights():
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=False, **chosen_here)
    prepare_scaled_experts(model)
    split_experts(model)
    return model


def blocks_of(model: nn.Module, architecture: Architecture) -> list[nn.Module]:
    """Return the blocks of a model, in order."""
    return list(model.get_submodule(architecture.blocks).children())


def shard_parameters(model: nn.Module, architecture: Architecture, blocks: range) -> Iterator[tuple[str, Tensor]]:
    """Yield the parameters that the shard of these blocks needs; a tied parameter occurs once per name."""
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if architecture.is_in_blocks(name):
            is_needed = int(name.removeprefix(f"{architecture.blocks}.").split(".")[0]) in blocks
        elif architecture.is_after_blocks(name):
            is_needed = blocks.stop == architecture.n_blocks
        else:
            is_needed = blocks.start == 0
        if is_needed:
            yield name, parameter


def _share_tied(model: PreTrainedModel, files: WeightFiles) -> None:
    """Give tied parameters, of which the checkpoint stores one, the same placeholder, so that it is counted once."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for name in parameters:
        source = source_of(name, model, files)
        if source != name:
            _set_parameter(model, name, parameters[source])


def _read_stored_buffers(model: nn.Module, files: WeightFiles) -> None:
    """Read the buffers that are weights and not computed, such as the scalar of each block of Gemma 4."""
    weights = model.state_dict().keys()
    for name, buffer in model.named_buffers():
        if name in weights and files.has(name):
            check_shape(files.shape(name), tuple(buffer.shape), name)
            buffer.copy_(files.copy(name, buffer.dtype))


def source_of(name: str, model: PreTrainedModel, files: TensorFiles) -> str:
    """Return the name under which the checkpoint stores a parameter; of two tied ones it stores only one."""
    tied: dict[str, str] = model.all_tied_weights_keys
    alias = {**{source: target for target, source in tied.items()}, **tied}.get(name)
    return alias if alias is not None and not files.has(name) else name


def _set_parameter(model: nn.Module, name: str, parameter: nn.Parameter) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(parent), leaf, parameter)


def embedding_sources(model: PreTrainedModel, architecture: Architecture, files: TensorFiles) -> dict[str, str]:
    """Return the weights of the token embedding and of the head -> the names under which the checkpoint stores them."""
    embedding = model.get_input_embeddings()
    paths = (*(name for name, module in model.named_modules() if module is embedding), architecture.head)
    return {f"{path}.weight": source_of(f"{path}.weight", model, files) for path in paths}


def check_shape(got: tuple[int, ...], expected: tuple[int, ...], name: str) -> None:
    """Check that a stored tensor has the shape of the model's parameter.

    Raises:
        ModelError: they differ.
    """
    if got != expected:
        raise ModelError("a tensor does not fit the config", tensor=name, expected=expected, got=got)
