"""`mlprune demo`: run the built-in example, and print its results and commands to try."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

import mlprune.demo
from catalog.queries import run_user_query
from catalog.report import write_report
from catalog.results import QueryResult
from catalog.store import Catalog
from catalog.terminal import TableOptions, to_table
from mlprune.store.store import Store
from ray_jobs.cli.options import StoreOption, echo, format_text, screen_width

RECIPE = Path(mlprune.demo.__file__).parent / "recipe.yaml"

QUESTIONS = {
    "best_by_language": (
        "Best candidate per language, dense or pruned: chosen on the dev half of the facts, reported on the test half",
        (
            *("language", "label", "win_share", "test_value"),
            *("difference", "difference_ci_low", "difference_ci_high", "english_difference"),
        ),
    ),
    "english_cost": (
        "Change in English on the test half at sparsity 0.4, with 95 % intervals",
        ("score", "propagation", "demonstration_label", "value", "difference", "ci_low", "ci_high", "p_corrected"),
    ),
    "demonstrations_compared": (
        "Translation demonstrations compared with monolingual ones: mean outside English, with 95 % intervals",
        ("label", "baseline_label", "difference", "ci_low", "ci_high", "p_value", "p_corrected", "n_family"),
    ),
}
"""Built-in query -> title of its table, and the columns shown."""

PARAMETERS = {"english_cost": ("sparsity=0.4",), "demonstrations_compared": ("opponent=monolingual",)}
"""Built-in query -> its parameters."""

TRY_NEXT = (
    "mlprune query sparsity_curve_by_language --store {store}",
    "mlprune query rank_consistency_to_english --store {store}",
    "mlprune query \"SELECT * FROM lineage WHERE task = 'facts' LIMIT 5\" --store {store} --format json",
)


def demo(
    *,
    store: StoreOption = "./demo-store",
    address: Annotated[str, typer.Option(help="Where to run: local, auto, ray://... or none.")] = "local",
) -> None:
    """Run the built-in example from recipe to report. It takes about five minutes and needs no download.

    Example: mlprune demo --store ./demo-store
    """
    raise typer.Exit(run_demo(store, address=address))


def run_demo(store_uri: str, *, address: str) -> int:
    """Run the built-in recipe, write the report and print the results; returns the exit code of the run."""
    from ray_jobs.driver.run_recipe import run_recipe  # noqa: PLC0415 - loads torch

    summary = run_recipe(RECIPE, store_uri, address=address)
    store = Store(store_uri)
    report = (store.local_root or Path()) / "report.html"
    with Catalog.open(store) as catalog:
        if not (summary.did_nothing and report.exists()):
            catalog.fold()
            write_report(catalog, report)
        for name, (question, columns) in QUESTIONS.items():
            result = run_user_query(catalog, name, PARAMETERS.get(name, ()))
            echo(f"{format_text(question)}\n\n{_table(result, columns)}\n")
    if store.local_root is not None:
        echo(f"catalog: {store.local_root / 'catalog.duckdb'}")
    echo(f"report:  {report.absolute()}")
    echo("\n".join(["try:", *(f"  {command.format(store=store_uri)}" for command in TRY_NEXT)]))
    return summary.exit_code


def _table(result: QueryResult, columns: Sequence[str]) -> str:
    """Format some columns of a query's rows."""
    rows = tuple(tuple(row[name] for name in columns) for row in result.as_dicts())
    return to_table(QueryResult(tuple(columns), rows), TableOptions(screen_width()))
