"""`mlprune mixed-model`: a mixed model of right answers, as a check of the paired tests."""

from typing import Annotated

import typer

from ray_jobs.cli.options import FormatOption, StoreOption, existing_store
from ray_jobs.cli.result_output import echo


def mixed_model(
    *,
    store: StoreOption,
    task: Annotated[str, typer.Option(help="Task with candidates whose answers are modelled.")],
    split: Annotated[str, typer.Option(help="Split to take the answers from.")] = "test",
    rule: Annotated[str | None, typer.Option(help="Scoring rule; default: the task's own.")] = None,
    format_: FormatOption = "table",
) -> None:
    """Fit a logistic mixed model of the answers outside English, with items, languages and seeds as random intercepts.

    A check of the paired tests, not a replacement. It reads stored predictions and runs no model.

    Example: mlprune mixed-model --store runs/ --task xnli
    """
    from catalog.mixed_model import NOTE, mixed_model  # noqa: PLC0415 - commands import lazily
    from catalog.queries import render  # noqa: PLC0415
    from catalog.store import Catalog  # noqa: PLC0415

    opened = existing_store(store)
    with Catalog.open(opened) as catalog:
        catalog.fold()
        result = mixed_model(catalog, opened, task, split=split, scoring_rule=rule)
        echo(render(result, format_))
    echo(NOTE, err=True)
