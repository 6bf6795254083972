"""`mlprune import`: make a model folder from a published checkpoint."""

from pathlib import Path
from typing import Annotated

import typer


def import_(
    source: Annotated[
        str, typer.Argument(help="Id of a model on the hub, a folder with a published checkpoint, or a .gguf file.")
    ],
    out: Annotated[Path, typer.Argument(help="Folder to create.")],
    *,
    revision: Annotated[str, typer.Option(help="Branch, tag or commit of a hub id.")] = "main",
    dtype: Annotated[
        str | None, typer.Option(help="Convert weights to float32, bfloat16 or float16. [default: as published]")
    ] = None,
) -> None:
    """Import a published checkpoint into a model folder.

    Weights can be PyTorch, safetensors or GGUF files. PyTorch files are pickles; a process without network reads them
    and accepts nothing but tensors. After an interruption, rerun the same command.

    Example: mlprune import facebook/xglm-564M models/xglm-564M
    """
    from ray_jobs.cli.import_text import run_import  # noqa: PLC0415 - commands import lazily, so that --help is fast

    run_import(source, out, revision=revision, dtype=dtype)
