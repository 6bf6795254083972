"""Commands about the catalog of a store: rebuild, check, merge and export it."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from catalog.check import Damage, marked_contradictions
from catalog.check import check as check_store
from catalog.check import repair as repair_store
from catalog.ingest.record_rows import row_problems
from catalog.registered import registered_differences
from catalog.store import Catalog, export_catalog
from catalog.store import rebuild as rebuild_catalog
from mlprune.counted import counted
from mlprune.errors import MlpruneError
from mlprune.store.merge import MOST_NAMED, mark_unverified, unverified_records
from mlprune.store.merge import merge as merge_stores
from mlprune.store.records import Record
from mlprune.store.retired import remake_command, retired_groups
from mlprune.store.store import Store
from ray_jobs.cli.options import StoreOption, echo, existing_store


def rebuild(store: StoreOption) -> None:
    """Rebuild the catalog file from the records.

    Example: mlprune store rebuild --store runs/
    """
    result = rebuild_catalog(existing_store(store, quarantine=True))
    echo(f"{result.n_records} records, {result.n_rows} rows")


def check(
    store: StoreOption,
    *,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Move the records of what is damaged to quarantine/, so that the next run of their recipe makes them "
            "again, and rebuild a catalog that differs.",
        ),
    ] = False,
    deep: Annotated[
        bool,
        typer.Option(
            "--deep",
            help="Also compute again what follows from predictions, masks and statistics: metrics, comparisons, "
            "answers, choices and others, and masks where the base model is found. No model is run.",
        ),
    ] = False,
    sample: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="With --deep: only N of these records, drawn at random."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of --sample.")] = 0,
    declarations: Annotated[
        Path | None,
        typer.Option(
            "--declarations",
            metavar="FILE",
            help="Also compare the declared questions with a file that mlprune query declarations --format json wrote.",
        ),
    ] = None,
) -> None:
    """Verify every record, artefact, key, view and value. Prints one line per problem; the exit code is then 1.

    Values must not contradict each other: p-values, intervals, power, labels, differences and answers.

    --repair needs no recipe and computes no result. If the next run makes a file again with its recorded hash,
    everything computed from it stays. Before it rebuilds a catalog, it compares all metrics with their predictions.

    \b
    Examples:
      mlprune check store --store runs/
      mlprune check store --repair --store runs/
      mlprune check store --deep --sample 20 --store runs/
      mlprune check store --declarations declared.json --store runs/
    """
    if deep or repair:
        from catalog.deep_check import deep_check  # noqa: PLC0415 - loads torch
    opened = existing_store(store)
    damages, notes = check_store(opened)
    differences = list(registered_differences(opened, declarations)) if declarations else []
    if deep or (repair and damages):
        wrong, unchecked = (
            deep_check(opened, sample=sample, seed=seed) if deep else deep_check(opened, kinds=("evaluations",))
        )
        damages, notes = [*damages, *wrong], [*notes, *unchecked]
    for source, paths in unverified_records(opened).items():
        notes = [*notes, f"{counted(len(paths), 'record')} copied from {source} without verification"]
    if retired := retired_groups(opened):
        notes = [*notes, f"{counted(len(retired), 'group')} of files retired; {remake_command(store)} makes them again"]
    for note in (*notes, *_result_notes(opened), *([] if damages else marked_contradictions(opened))):
        echo(f"note: {note}", err=True)
    for damage in damages:
        echo(str(damage))
    for difference in differences:
        echo(difference)
    if differences and not damages:
        raise typer.Exit(1)
    if not damages:
        echo("sound")
        return
    if repair:
        _repair(store, damages)
    else:
        echo(f"next: mlprune check store --repair --store {store}", err=True)
    raise typer.Exit(1)


def _result_notes(store: Store) -> Iterator[str]:
    """Yield what the variants of a store have in another way than their recipes ask for."""
    try:
        from mlprune.steps.prune.result_warnings import variant_warnings  # noqa: PLC0415 - loads torch
    except ModuleNotFoundError as err:
        yield f"whether variants reached their sparsity was not examined, which needs {err.name}"
        return
    for record in store.records("variants"):
        try:
            yield from variant_warnings(store, record)
        except MlpruneError:  # the check names damaged records
            continue


def _repair(store: str, damages: Iterable[Damage]) -> None:
    """Repair a store and print what was done and the next step."""
    result = repair_store(existing_store(store, quarantine=True), damages)
    for path in result.set_aside:
        echo(f"moved to quarantine/: {path}", err=True)
    if result.rebuilt:
        echo("the catalog was rebuilt", err=True)
    if result.set_aside:
        recipes = ", ".join(result.recipes) or "unknown"
        echo(f"next: mlprune run RECIPE --store {store} (recipes of this store: {recipes})", err=True)


def _examination(source: Store, *, unverified: bool) -> Callable[[Store, Record], Iterable[str]]:
    """Return the function that finds out what is wrong with a record that is merged."""
    if unverified:
        return lambda _, record: row_problems(record)
    from catalog.deep_check import examination  # noqa: PLC0415 - loads torch

    return examination(source)


def merge(
    other: Annotated[str, typer.Argument(help="Store to copy from: a folder or an object-store URI.")],
    *,
    store: StoreOption,
    unverified: Annotated[
        bool,
        typer.Option(
            "--unverified",
            help="Compute nothing again: copy what has the right hashes and rows, and mark where it comes from.",
        ),
    ] = False,
) -> None:
    """Copy the records and artefacts of another store. The exit code is 1 if some are not copied.

    Hashes and rows are verified, and everything that check store --deep computes again without the base model:
    metrics, comparisons, answers and others. A result whose inputs the other store lacks is not copied.

    \b
    Examples:
      mlprune store merge /mnt/laptop/runs --store runs/
      mlprune store merge /mnt/laptop/runs --unverified --store runs/
    """
    source, target = existing_store(other), Store(store, quarantine=True)
    examine = _examination(source, unverified=unverified)
    target.require_current_version()
    mark = mark_unverified(source, target) if unverified else None
    result = merge_stores(source, target, examine=examine)
    with Catalog.open(target) as catalog:
        catalog.fold()
    echo(f"{result.n_records} records copied with {result.n_files} files, {result.n_known} were already present")
    if mark is not None:
        echo(f"not verified: {mark} says which records were copied, and from where")
    if result.n_retired:
        echo(f"{result.n_retired} groups of files were retired in the other store: only their records are copied")
    for path in result.refused[:MOST_NAMED]:
        echo(f"not copied (damaged, wrong, or in conflict with the same record here): {path}")
    if len(result.refused) > MOST_NAMED:
        echo(f"... and {len(result.refused) - MOST_NAMED} more")
    if result.refused:
        raise typer.Exit(1)


def export(
    *,
    store: StoreOption,
    to: Annotated[Path, typer.Option("--out", help="Folder to write; it must be empty or not exist.")],
    format_: Annotated[str, typer.Option("--format", help="File format: parquet, csv or arrow.")] = "parquet",
    only: Annotated[
        list[str] | None, typer.Option(help="Only this table or view; repeatable. Default: all of them.")
    ] = None,
) -> None:
    """Write the catalog's tables and views as files, with the id of their snapshot.

    Example: mlprune export --as parquet --store runs/ --out exported/
    """
    with Catalog.open(existing_store(store)) as catalog:
        catalog.fold()
        result = export_catalog(catalog, to, format=format_, only=only or ())
    echo(f"{len(result.n_rows)} files, {sum(result.n_rows.values())} rows, snapshot {result.snapshot_id}")
