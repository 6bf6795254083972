"""`mlprune import`: make a model folder from a published checkpoint."""

from pathlib import Path
from typing import Annotated

import typer

from mlprune.errors import BadInputError
from ray_jobs.cli.options import is_path


def import_(
    source: Annotated[
        str, typer.Argument(help="Id of a model on the hub, a folder with a published checkpoint, or a .gguf file.")
    ],
    out: Annotated[str, typer.Argument(help="Folder to create.")],
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
    if not source.strip() or not out.strip():
        raise BadInputError("an argument is empty", expected="SOURCE and OUT", got=f"{source!r} and {out!r}")
    from mlprune.hub import require_hub_or_cache  # noqa: PLC0415 - commands import lazily, so that --help is fast

    if not is_path(source) and not Path(out).exists():
        require_hub_or_cache(source, kind="model", revision=revision)  # before libraries are imported for seconds
    from ray_jobs.cli.import_text import run_import  # noqa: PLC0415

    run_import(source, Path(out), revision=revision, dtype=dtype)
