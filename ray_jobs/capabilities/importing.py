"""`mlprune import`: make a model folder from a published checkpoint, and show the progress."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from mlprune.errors import BadInputError
from mlprune.hub import format_size, require_hub_or_cache
from ray_jobs.cli.options import STORE_VARIABLE, echo, is_path, parse_dtype

if TYPE_CHECKING:
    from mlprune.capabilities.importing.child_process import Progress as ReportBytes
    from mlprune.capabilities.importing.model_import import ImportedModel
    from mlprune.models.import_record import Origin

MAX_LISTED = 4
"""Dropped tensors that are listed by name; `mlprune_import.json` has all of them."""


def import_(
    source: Annotated[
        str, typer.Argument(help="Id of a model on the hub, a folder with a published checkpoint, or a .gguf file.")
    ],
    *,
    out: Annotated[str | None, typer.Option(help="Folder to create.")] = None,
    revision: Annotated[str, typer.Option(help="Branch, tag or commit of a hub id.")] = "main",
    dtype: Annotated[
        str | None,
        typer.Option(
            help="Convert weights to float32, bfloat16 or float16 (fp32, bf16, fp16). [default: as published]"
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            help="Model that a pruned or quantised checkpoint was made from, a folder or a hub id with an optional "
            "@REVISION: the checkpoint becomes a variant in --store. With --out, it is imported there first.",
        ),
    ] = None,
    store: Annotated[
        str | None, typer.Option(envvar=STORE_VARIABLE, help="Store that gets the variant of --base, or the results.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="With --base: name of the variant. [default: that of SOURCE]")
    ] = None,
) -> None:
    """Import a published checkpoint, or results from elsewhere.

    A checkpoint becomes a model folder; of a multimodal one, the text part does. Weights can be PyTorch, safetensors or
    GGUF files. PyTorch files are pickles; a process without network reads them and accepts nothing but tensors. After
    an interruption, rerun the same command.

    \b
    Examples:
      mlprune import facebook/xglm-564M --out models/xglm-564M
      mlprune import pruned/ --base models/xglm-564M --store runs/
      mlprune import Q4_K_M.gguf --base models/SmolLM2-135M --out models/q4 --store runs/
    """
    if base is not None and out is None:
        if dtype is not None or not store:
            message, expected = "a pruned checkpoint is imported into a store", "--base with --store, or with --out"
            raise BadInputError(message, expected=expected, next="without --base, --out imports a whole model")
        adopt(source, base, store=store, name=name, revision=revision)
        return
    if name is not None and base is None:
        raise BadInputError("--name belongs to --base", got=name)
    if out is None or not source.strip() or not out.strip():
        raise BadInputError("an argument is empty", expected="SOURCE and --out", got=f"{source!r} and {out!r}")
    if not is_path(source) and not Path(out).exists():
        require_hub_or_cache(source, kind="model", revision=revision)  # before libraries are imported for seconds
    run_import(source, Path(out), revision=revision, dtype=dtype, base=base)
    if base is not None and store:
        adopt(str(Path(out).absolute()), base, store=store, name=name or Path(source).stem, revision="main")


def adopt(source: str, base: str, *, store: str, name: str | None, revision: str) -> None:
    """Make a variant of a pruned checkpoint, by a recipe without evaluations that runs in this process.

    Raises:
        BadInputError: the checkpoint cannot be read, or is not a pruned form of the base model.
        Exit: the work failed.
    """
    if not source.strip() or not base.strip():
        raise BadInputError("an argument is empty", expected="SOURCE and --base", got=f"{source!r} and {base!r}")
    from ray_jobs.driver.run_recipe import run_recipe  # noqa: PLC0415 - loads torch

    name = name or Path(source).name
    base_name, _, base_revision = (base, "", "") if is_path(base) else base.partition("@")
    checkpoint = source if is_path(source) or "@" in source or revision == "main" else f"{source}@{revision}"
    recipe = {
        "name": f"import {name}",
        "model": {"path": base_name, "revision": base_revision or "main"},
        "corpus": {"kind": "cldr"},
        "variants": [{"name": name, "adopt": checkpoint}],
    }
    summary = run_recipe(recipe, store, address="none")
    if summary.exit_code:
        raise typer.Exit(summary.exit_code)
    echo(f"imported {source} as variant {name}: {summary.variants[-1]}")
    echo("next, evaluate it in a recipe with the same model:")
    echo(f"  variants: [{{name: {name}, adopt: {checkpoint}}}]")


def run_import(source: str, out: Path, *, revision: str, dtype: str | None, base: str | None = None) -> None:
    """Import a checkpoint; progress goes to stderr, the result to stdout.

    Args:
        base: the model that it was made from; a GGUF file gets its config and tokenizer.
    Raises:
        BadInputError: the source cannot be imported, or `out` cannot be written.
    """
    from mlprune.capabilities.importing.hub_source import imported_before  # noqa: PLC0415
    from mlprune.capabilities.importing.model_import import ImportedModel, import_model  # noqa: PLC0415 - loads torch

    begin = time.monotonic()
    chosen = None if dtype is None else parse_dtype(dtype)
    if not is_path(source) and (record := imported_before(source, revision, out, dtype=chosen)) is not None:
        echo("\n".join(_summary(ImportedModel(out.resolve(), record, None), out, elapsed_s=0.0)))
        return
    folder, origin = _resolve(source, revision, out)
    with _progress() as progress:
        imported = import_model(
            folder,
            out,
            dtype=chosen,
            origin=origin,
            base=None if base is None else _base_folder(base),
            report=lambda text: echo(text, err=True),
            progress=progress,
        )
    echo("\n".join(_summary(imported, out, elapsed_s=time.monotonic() - begin)))


def _base_folder(base: str) -> Path:
    """Return the folder of a base model: a path, or an id on the hub with an optional revision."""
    from mlprune.models.loading import resolve_model  # noqa: PLC0415 - loads torch

    name, _, revision = (base, "", "") if is_path(base) else base.partition("@")
    return resolve_model(name, revision or "main")


def _resolve(source: str, revision: str, out: Path) -> "tuple[Path, Origin | None]":
    """Return the folder of a source; a name that is not a path is fetched from the hub."""
    if is_path(source):
        return Path(source).expanduser(), None
    from mlprune.capabilities.importing.hub_source import fetch_source  # noqa: PLC0415 - loads torch

    return fetch_source(source, revision, out=out, report=lambda text: echo(text, err=True))


@contextmanager
def _progress() -> "Iterator[ReportBytes | None]":
    """Yield a progress bar on a terminal; None otherwise, so that lines are printed."""
    if not sys.stderr.isatty():
        yield None
        return
    columns = (TextColumn("reading and writing"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda n_done, n_total: bar.update(task, completed=n_done, total=n_total)


def _summary(imported: "ImportedModel", out: Path, *, elapsed_s: float) -> Iterator[str]:
    record, result = imported.record, imported.result
    if result is None:
        yield f"already imported: {out}"
    else:
        n_bytes = sum((imported.path / name).stat().st_size for name in result.weight_files)
        action = "linked" if result.is_linked else "written"
        yield f"imported {record.source} ({record.weight_format}) in {elapsed_s:.0f} s"
        yield f"{result.n_tensors} tensors, {format_size(n_bytes)} {action}"
        if result.peak_memory_bytes is not None:
            yield f"peak memory of the conversion: {result.peak_memory_bytes / 2**30:.2f} GiB"
        if record.quantization is not None:
            yield f"dequantised; tensors of each type: {record.quantization}"
        if record.part_of is not None:
            parts = ", ".join(f"{part} ({number})" for part, number in record.left_out.items()) or "nothing"
            yield f"text part of a {record.part_of} model; left out, with the number of tensors: {parts}"
        if record.dropped:
            more = f" and {len(record.dropped) - MAX_LISTED} more" if len(record.dropped) > MAX_LISTED else ""
            yield f"not read by the model: {', '.join(record.dropped[:MAX_LISTED])}{more}"
    yield "next, name the folder in a recipe (a relative path starts at the recipe's folder):"
    yield f"  model: {{path: {imported.path}}}"
