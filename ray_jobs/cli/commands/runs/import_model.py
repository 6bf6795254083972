"""`mlprune import`: make a model folder from a published checkpoint."""

from pathlib import Path
from typing import Annotated

import typer


def import_(
    source: Annotated[
        str, typer.Argument(help="Id of a model on the hub, a folder with a published checkpoint, or a .gguf file.")
    ],
    out: Annotated[Path, typer.Argument(help="Folder to make.")],
    *,
    revision: Annotated[str, typer.Option(help="Branch, tag or commit of a hub id.")] = "main",
    dtype: Annotated[
        str | None, typer.Option(help="Convert weights to float32, bfloat16 or float16. [default: as published]")
    ] = None,
) -> None:
    """Import a published checkpoint: PyTorch, safetensors or GGUF weights, config and tokenizer become a model folder.

    Pickled files are read in a process without network that accepts nothing but tensors. If it is interrupted, rerun
    the same command.

    Example: mlprune import facebook/xglm-564M models/xglm-564M
    """
    from ray_jobs.cli.import_text import run_import  # noqa: PLC0415 - commands import lazily, so that --help is fast

    run_import(source, out, revision=revision, dtype=dtype)
