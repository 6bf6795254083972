"""`mlprune export` and `mlprune import`: results in the formats of others, out of a store and into it."""

import time
from pathlib import Path
from typing import Annotated

import typer

from catalog.store import Catalog
from mlprune import __version__
from mlprune.capabilities.harness.every_eval_ever import Submission
from mlprune.store.store import Store
from ray_jobs.cli.known_words import complete_variant
from ray_jobs.cli.options import StoreOption, echo, existing_store


def export(
    variants: Annotated[
        list[str] | None,
        typer.Argument(help="Labels, names or ids of variants, or beginnings of these; all by default."),
    ] = None,
    *,
    store: StoreOption,
    format_: Annotated[str, typer.Option("--format", help="every_eval_ever, or hub: Hugging Face evaluation results.")],
    to: Annotated[Path, typer.Option("--out", help="Folder to write; it must be empty or not exist.")],
    organisation: Annotated[str, typer.Option(help="every_eval_ever: who publishes the results.")] = "unknown",
    relationship: Annotated[
        str,
        typer.Option(
            help="every_eval_ever: you and the developer of the base model: first_party, third_party, collaborative or "
            "other."
        ),
    ] = "third_party",
    no_samples: Annotated[
        bool, typer.Option("--no-samples", help="every_eval_ever: only the results, not the single items.")
    ] = False,
) -> None:
    """Write results in a format that others read; every number is the one in the catalog, bit by bit.

    \b
    Examples:
      mlprune export --as every_eval_ever --out shared/ --store runs/
      mlprune export wanda-fr-en --as hub --out shared/ --store runs/
    """
    from catalog.capabilities.harness.standards import Request, export_results  # noqa: PLC0415 - these load torch
    from catalog.stored_names import find_variants  # noqa: PLC0415

    opened = existing_store(store)
    submission = Submission(
        organisation=organisation,
        library_version=__version__,
        retrieved_at=int(time.time()),
        relationship=relationship,
    )
    variant_ids = find_variants(opened, variants) if variants else []
    with Catalog.open(opened) as catalog:
        catalog.fold()
        request = Request(submission, with_samples=not no_samples)
        done = export_results(catalog, to, format=format_, request=request, variant_ids=variant_ids)
    for reason, n in done.left_out.items():
        echo(f"left out: {n} {reason}", err=True)
    samples = f", {done.n_samples} items" if done.n_samples else ""
    echo(f"{done.n_files} files, {done.n_results} results{samples} in {to}")


def import_(
    paths: Annotated[
        list[Path],
        typer.Argument(help="results_*.json of lm-evaluation-harness, or folders with some; samples next to them too."),
    ],
    *,
    store: StoreOption,
    variant: Annotated[
        str | None,
        typer.Option(
            help="Variant that all of these results are about: a label, name or id.", autocompletion=complete_variant
        ),
    ] = None,
) -> None:
    """Import results of lm-evaluation-harness that were computed elsewhere.

    They are in tables of their own, external_evaluations and external_results. Where the samples were logged, means get
    a 95 % interval. Importing the same results again changes nothing.

    \b
    Examples:
      mlprune import lm-eval-output/ --results --store runs/
      mlprune import results_2026-11-26T18-00-00.json --results --variant wanda-fr-en --store runs/
    """
    from catalog.stored_names import find_variant  # noqa: PLC0415
    from mlprune.capabilities.harness.harness import import_results  # noqa: PLC0415 - these load torch

    opened = Store(store, quarantine=True)
    opened.require_current_version()
    variant_id = find_variant(opened, variant) if variant is not None else None
    n_new = 0
    for imported in import_results(opened, paths, variant_id=variant_id):
        n_new += not imported.existed
        samples = f"{imported.samples.n_documents} samples" if imported.samples else "no samples"
        known = ", known already" if imported.existed else ""
        values = ", ".join(f"{metric.key} {metric.value:.4g}" for metric in imported.task.metrics)
        echo(f"{imported.task.name}: {values}; {samples}{known}")
    with Catalog.open(opened) as catalog:
        catalog.fold()
    echo(f"{n_new} tasks imported; next: mlprune query results_from_elsewhere --store {store}", err=True)
