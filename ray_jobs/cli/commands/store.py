"""`mlprune store`: maintain the files of a store, and retire files by rules."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import typer

from catalog.retention import RankingRequest, decision_table, rank_variants
from catalog.store import Catalog
from mlprune.counted import counted
from mlprune.errors import BadInputError
from mlprune.hub import format_size
from mlprune.store.compaction import compact as compact_store
from mlprune.store.garbage import find_garbage, remove_garbage
from mlprune.store.retention import Decision, RetentionRules, decide, mask_files, retire
from mlprune.store.retired import remake_command
from mlprune.store.scratch import abandoned_folders, remove_abandoned
from mlprune.store.store import Store
from ray_jobs.cli.known_words import complete_language, complete_task
from ray_jobs.cli.options import (
    FormatOption,
    ResultFormat,
    StoreOption,
    WideOption,
    echo,
    existing_store,
    format_result,
    layout_of,
)

MAX_LISTED_FILES = 50
"""Files that `gc` lists by name."""
MAX_LISTED_ROWS = 40
"""Rows of the table; the formats json and csv have all."""
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kMGT]?)(i?)B", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


@dataclass(frozen=True)
class RetentionOptions:
    """Options of `mlprune store gc` that ask for retention."""

    ranking: RankingRequest
    keep_days: float | None = None
    quota: str | None = None

    @property
    def is_wanted(self) -> bool:
        """Whether any of them was given."""
        return self != RetentionOptions(RankingRequest())

    def require_consistent(self) -> None:
        """Check that the options fit together.

        Raises:
            BadInputError: they do not.
        """
        ranking = self.ranking
        if (ranking.keep_best is None) != (not ranking.metrics):
            missing = "--by METRIC" if ranking.keep_best is not None else "--keep-best N"
            raise BadInputError("the best variants are those by a metric on dev", expected=f"also {missing}")
        if (ranking.tasks or ranking.language) and not ranking.metrics:
            raise BadInputError("a task or language says what variants are compared by", expected="also --by METRIC")
        if ranking.keep_best is None and self.keep_days is None and self.quota is None:
            raise BadInputError("no rule says what is kept", expected="--keep-best, --keep-days or --quota")


def compact(store: StoreOption) -> None:
    """Merge the record files of a store into a few segment files. Runs may be active at the same time.

    Example: mlprune store compact --store runs/
    """
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
    task: Annotated[
        list[str] | None,
        typer.Option(help="Rank the variants by this task only; repeatable.", autocompletion=complete_task),
    ] = None,
    language: Annotated[
        str | None,
        typer.Option(
            help="Rank the variants by this language only, not by the mean over languages.",
            autocompletion=complete_language,
        ),
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
      mlprune store gc --store runs/ --delete
      mlprune store gc --store runs/ --keep-best 20 --by accuracy --keep-days 90
      mlprune store gc --store runs/ --quota 200GB --delete
    """
    opened = existing_store(store)
    ranking = RankingRequest(tuple(by or ()), keep_best, tuple(task or ()), language)
    retention = RetentionOptions(ranking, keep_days, quota)
    if retention.is_wanted:
        apply_retention(
            opened, retention, min_age_hours=min_age_hours, delete=delete, format_name=format_, is_wide=wide
        )
        return
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


def parse_size(text: str) -> int:
    """Parse a size such as `200GB` or `1.5 TiB`.

    Raises:
        BadInputError: it has another form.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise BadInputError("not a size", option="--quota", expected="a number and a unit, such as 200GB", got=text)
    number, prefix, binary = match.groups()
    return int(float(number) * (1024 if binary else 1000) ** _POWERS[prefix.lower()])


def apply_retention(
    store: Store, options: RetentionOptions, *, min_age_hours: float, delete: bool, format_name: str, is_wide: bool
) -> None:
    """Print what the rules keep and retire, and remove what is retired if `delete` is set.

    Raises:
        BadInputError: the options do not fit together, or the store has no such values on dev.
        StoreError: a run is using the store.
    """
    options.require_consistent()
    quota = None if options.quota is None else parse_size(options.quota)
    keep_days = max(options.keep_days or 0.0, min_age_hours / 24)
    rules = RetentionRules(keep_days, quota, requires_rank=bool(options.ranking.metrics))
    store_bytes = sum(file.n_bytes for file in store.files(""))
    with Catalog.open(store) as catalog:
        catalog.fold()
        ranking = rank_variants(catalog, options.ranking)
        decisions = decide(mask_files(store), ranking, rules, store_bytes=store_bytes)
        table = decision_table(catalog, decisions)
        n_hidden = max(0, len(table.rows) - MAX_LISTED_ROWS) if format_name == "table" else 0
        if n_hidden:
            table = replace(table, rows=table.rows[:MAX_LISTED_ROWS])
        echo(format_result(catalog, table, ResultFormat(format_name, layout_of(wide=is_wide))))
    if n_hidden:
        echo(f"... and {n_hidden} more rows; --format csv has all", err=True)
    n_bytes = retire(store, decisions) if delete else 0
    for line in summary_lines(decisions, store_bytes=store_bytes, quota=quota, is_done=delete):
        echo(line, err=True)
    if delete and n_bytes:
        echo(f"next: {remake_command(store.uri)} makes retired files again", err=True)


def summary_lines(decisions: Sequence[Decision], *, store_bytes: int, quota: int | None, is_done: bool) -> list[str]:
    """Return what is kept, what is retired, and what remains, one line each."""
    retired = sum(one.masks.n_bytes for one in decisions if one.is_retired)
    kept = sum(one.masks.n_bytes for one in decisions if not one.is_retired)
    n_retired = sum(one.is_retired for one in decisions)
    lines = [
        f"{'retired' if is_done else 'to retire'}: files of {counted(n_retired, 'ordering')}, {format_size(retired)}",
        f"kept: files of {counted(len(decisions) - n_retired, 'ordering')}, {format_size(kept)}",
        f"store: {format_size(store_bytes)}, then {format_size(store_bytes - retired)}",
    ]
    if quota is not None and store_bytes - retired > quota:
        excess = format_size(store_bytes - retired - quota)
        lines.append(f"warning: {excess} above the quota of {format_size(quota)}; everything else is kept by a rule")
    if not is_done and n_retired:
        lines.append("nothing was removed: add --delete to retire these files")
    return lines
