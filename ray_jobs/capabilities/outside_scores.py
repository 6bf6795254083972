"""`mlprune import --scores`: scores of stored outputs that another program gave."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ray_jobs.cli.options import StoreOption, echo, existing_store


def import_(
    path: Annotated[
        Path,
        typer.Argument(
            help="CSV, TSV, JSON lines or Parquet with the columns evaluation_id (or variant, and task, language and "
            "split where several evaluations of it have outputs), item, and score."
        ),
    ],
    *,
    metric: Annotated[str, typer.Option(help="Name of the metric, such as comet-22.")],
    range_: Annotated[
        str, typer.Option("--range", help="WORST:BEST score: 0:1 for COMET, 25:0 for MetricX.", metavar="WORST:BEST")
    ],
    store: StoreOption,
) -> None:
    """Import scores that another program gave to stored translations or answers, as a metric of their evaluations.

    A value is a mean share of the range: 0 is the worst score, 1 the best. It has an interval, and is compared and
    tested as chrF is, with whatever the evaluation was compared with and has scores of this metric, too. Importing the
    same scores again changes nothing.

    \b
    Examples:
      mlprune query "SELECT evaluation_id, example_id AS item, question AS source, gold AS reference, output
        FROM item_answers('translation')" --format csv --store runs/ > outputs.csv
      mlprune import --scores scored.csv --metric comet-22 --range 0:1 --store runs/
    """
    from catalog.store import Catalog  # noqa: PLC0415 - these load torch
    from catalog.stored_names import find_variant  # noqa: PLC0415
    from mlprune.capabilities.outside_scores.importing import import_scores  # noqa: PLC0415
    from mlprune.capabilities.outside_scores.score_files import ScoreRange  # noqa: PLC0415
    from mlprune.store.repair import quarantine_on_damage  # noqa: PLC0415
    from ray_jobs.driver.run_log import recorded_run  # noqa: PLC0415

    scores = ScoreRange.parse(range_)
    stored = existing_store(store)
    stored.require_writable()
    with recorded_run(stored, "import") as opened, quarantine_on_damage(opened):
        done = import_scores(opened, path, metric, scores=scores, find_variant=partial(find_variant, opened))
    with Catalog.open(stored) as catalog:
        catalog.fold()
    for evaluation_id in done.evaluation_ids:
        echo(evaluation_id)
    written = f"{done.n_new} of them new, {done.n_compared} comparisons written"
    echo(f"{done.n_items:,} scores of {len(done.evaluation_ids)} evaluations, {written}", err=True)
    values = f"values_by_variant --param task={done.tasks[0]} --param metric={metric} --param all_protocols=true"
    echo(f"next: mlprune query {values} --store {store}", err=True)
