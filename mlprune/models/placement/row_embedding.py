"""Token embeddings that stay in the checkpoint, with rows read on demand.

The token embedding is the largest tensor of a multilingual model (256,008 rows in XGLM), and a batch needs some hundred
rows of it. Mapping the file would take almost as much memory as loading it, since the system also reads the neighbours
of every row. The model's own code still scales the rows or adds positions to them.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from mlprune.errors import ModelError
from mlprune.models.checkpoint.tensor_slices import TensorSlice, read_rows


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
        embedding.weight = nn.Parameter(_read(file, stored, rows).to(dtype), requires_grad=False)
        return row_of_token, *remaining

    def drop_rows(_module: nn.Module, _inputs: object, _output: object) -> None:
        embedding.weight = placeholder

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
