"""`mlprune store` and `mlprune gc`: maintain the files of a store."""

from typing import Annotated

import typer

from ray_jobs.cli.commands.stores.retention import RetentionOptions, RetentionOutput, apply_retention
from ray_jobs.cli.options import FormatOption, StoreOption, WideOption, echo, existing_store

MAX_LISTED_FILES = 50
"""Files that `gc` lists by name."""


def compact(store: StoreOption) -> None:
    """Merge the record files of a store into a few segment files. Runs may be active at the same time.

    Example: mlprune store compact --store runs/
    """
    from mlprune.store.compaction import compact as compact_store  # noqa: PLC0415 - commands import lazily

    compaction = compact_store(existing_store(store))
    echo(f"{compaction.n_records} record files merged into {compaction.n_segments} segments")


def gc(
    *,
    store: StoreOption,
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete the files; without it they are only listed.")
    ] = False,
    min_age_hours: Annotated[float, typer.Option(min=0, help="Skip files written in the last N hours.")] = 24.0,
    keep_best: Annotated[
        int | None,
        typer.Option(
            "--keep-best", metavar="N", min=0, help="Retire masks and weights, except those of the best N variants."
        ),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option("--by", metavar="METRIC", help="Metric on dev that ranks the variants; repeatable."),
    ] = None,
    task: Annotated[str | None, typer.Option(help="Rank the variants by this task only.")] = None,
    language: Annotated[
        str | None, typer.Option(help="Rank the variants by this language only, not by the mean over languages.")
    ] = None,
    keep_days: Annotated[
        float | None,
        typer.Option(metavar="D", min=0, help="Retire masks and weights, except those of the last D days."),
    ] = None,
    quota: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Retire only until the store has this size, such as 200GB: first what is made again from stored "
            "statistics.",
        ),
    ] = None,
    format_: FormatOption = "table",
    wide: WideOption = False,
) -> None:
    """List, or delete, files that no record references. Files that a running job may still need are skipped.

    Scratch folders that killed processes left on this machine are included.

    With --keep-best, --keep-days or --quota, files of masks and changed weights are retired instead: they are removed,
    their records and all results stay, and mlprune run --remake makes them again. Variants that were chosen on dev or
    won a search are kept. Without --delete, the table says what would be retired.

    \b
    Examples:
      mlprune gc --store runs/ --delete
      mlprune gc --store runs/ --keep-best 20 --by accuracy --keep-days 90
      mlprune gc --store runs/ --quota 200GB --delete
    """
    opened = existing_store(store)
    retention = RetentionOptions(keep_best, tuple(by or ()), task, language, keep_days, quota)
    if retention.is_wanted:
        output = RetentionOutput(format_, is_wide=wide)
        apply_retention(opened, retention, min_age_hours=min_age_hours, delete=delete, output=output)
        return
    from mlprune.store.garbage import find_garbage, remove_garbage  # noqa: PLC0415 - commands import lazily
    from mlprune.store.scratch import abandoned_folders, remove_abandoned  # noqa: PLC0415

    garbage = find_garbage(opened, min_age_s=min_age_hours * 3600)
    for file in garbage.files[:MAX_LISTED_FILES]:
        echo(f"{file.n_bytes:12} {file.path}")
    if len(garbage.files) > MAX_LISTED_FILES:
        echo(f"... and {len(garbage.files) - MAX_LISTED_FILES} more")
    n_deleted = remove_garbage(opened, garbage) if delete and garbage.files else 0
    summary = f"{n_deleted} of {len(garbage.files)} files deleted" if delete else f"{len(garbage.files)} files"
    echo(f"{summary}, {garbage.n_bytes} bytes; {len(garbage.young)} more are too recent to delete")
    for folder in abandoned_folders():
        deleted = " (deleted)" if delete and remove_abandoned(folder) else ""
        echo(f"{folder.n_bytes:12} {folder.path}: scratch folder of a process that has ended{deleted}")
