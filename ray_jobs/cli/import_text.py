"""Run an import, show its progress, and print what it did and what to do next."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from mlprune.hub import format_size
from mlprune.importing import ImportedModel, Origin, fetch_source, import_model
from mlprune.importing.child_process import Progress as ReportBytes
from mlprune.importing.hub_source import imported_before
from ray_jobs.cli.options import echo, is_path, parse_dtype

MAX_LISTED = 4
"""Dropped tensors that are listed by name; `mlprune_import.json` has all of them."""


def run_import(source: str, out: Path, *, revision: str, dtype: str | None) -> None:
    """Import a checkpoint; progress goes to stderr, the result to stdout.

    Raises:
        BadInputError: the source cannot be imported, or `out` cannot be written.
    """
    begin = time.monotonic()
    chosen = None if dtype is None else parse_dtype(dtype)
    if not is_path(source) and (record := imported_before(source, revision, out, dtype=chosen)) is not None:
        echo("\n".join(_summary(ImportedModel(out.resolve(), record, None), out, elapsed_s=0.0)))
        return
    folder, origin = _resolve(source, revision, out)
    with _progress() as progress:
        imported = import_model(
            folder, out, dtype=chosen, origin=origin, report=lambda text: echo(text, err=True), progress=progress
        )
    echo("\n".join(_summary(imported, out, elapsed_s=time.monotonic() - begin)))


def _resolve(source: str, revision: str, out: Path) -> tuple[Path, Origin | None]:
    """Return the folder of a source; a name that is not a path is fetched from the hub."""
    if is_path(source):
        return Path(source).expanduser(), None
    return fetch_source(source, revision, out=out, report=lambda text: echo(text, err=True))


@contextmanager
def _progress() -> Iterator[ReportBytes | None]:
    """Yield a progress bar on a terminal; None otherwise, so that lines are printed."""
    if not sys.stderr.isatty():
        yield None
        return
    columns = (TextColumn("reading and writing"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda n_done, n_total: bar.update(task, completed=n_done, total=n_total)


def _summary(imported: ImportedModel, out: Path, *, elapsed_s: float) -> Iterator[str]:
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
        if record.dropped:
            more = f" and {len(record.dropped) - MAX_LISTED} more" if len(record.dropped) > MAX_LISTED else ""
            yield f"not read by the model: {', '.join(record.dropped[:MAX_LISTED])}{more}"
    yield "next, name the folder in a recipe (a relative path starts at the recipe's folder):"
    yield f"  model: {{path: {imported.path}}}"
