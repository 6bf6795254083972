"""Token embeddings that stay in the checkpoint: a row is read when a token asks for it.

A batch names some hundreds of rows of what is the largest tensor of a multilingual model (256,008 rows of XGLM's).
Loaded it would take its whole size; mapped it takes almost as much, since the system brings in the neighbours of every
row that is touched. What a model's own code does with the rows (scaling, positions) is left to it.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mlprune.errors import ModelError
from mlprune.models.checkpoint.tensor_slices import TensorSlice, rows_of


def read_rows_on_demand(embedding: nn.Embedding, file: Path, extent: TensorSlice, dtype: torch.dtype) -> None:
    """Have an embedding read its rows from a file; its weight is there while its forward runs, and holds those alone.

    One thread at a time may run it. Its inputs and outputs are on the CPU.

    Args:
        embedding: its weight may be on the meta device, and stays there.
        file: safetensors.
        extent: of the weight in the file, [n, d] of a plain float type.
        dtype: of the rows.
    """
    absent = embedding.weight

    def put_rows(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        token_ids, *others = inputs
        wanted, places = torch.unique(token_ids, return_inverse=True)
        weight = _read(file, extent, wanted).to(dtype)
        embedding.weight = nn.Parameter(weight, requires_grad=False)
        return places, *others

    def take_rows(_module: nn.Module, _inputs: Any, _output: Any) -> None:
        embedding.weight = absent

    embedding.register_forward_pre_hook(put_rows)
    embedding.register_forward_hook(take_rows, always_call=True)


def _read(file: Path, extent: TensorSlice, wanted: Tensor) -> Tensor:
    """[k, d], in the dtype of the file.

    Raises:
        ModelError: a token has no row, or the checkpoint no longer holds the rows.
    """
    n_rows = extent.shape[0]
    if len(wanted) and not 0 <= int(wanted[0]) <= int(wanted[-1]) < n_rows:
        worst = int(wanted[-1] if wanted[-1] >= n_rows else wanted[0])
        raise ModelError(
            "a token has no row in the embedding", path=str(file), expected=f"0 to {n_rows - 1}", got=worst
        )
    try:
        return rows_of(file, extent, wanted.tolist())
    except (OSError, EOFError) as err:
        reason = getattr(err, "strerror", None) or str(err)
        raise ModelError("rows of the embedding cannot be read", path=str(file), reason=reason) from err
