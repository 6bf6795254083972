"""Run the built-in example and print its results: three tables, the paths of catalog and report, commands to try."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

import mlprune.demo
from catalog.queries import run_user_query
from catalog.report import write_report
from catalog.store import Catalog
from mlprune.store.store import Store
from ray_jobs.driver.run_recipe import run_recipe

RECIPE = Path(mlprune.demo.__file__).parent / "recipe.yaml"

QUESTIONS = {
    "best_by_language": (
        "Best variant per language: chosen on the dev half of the facts, reported on the test half, with English",
        (
            *("language", "score", "sparsity", "source_language", "test_value", "test_ci_low", "test_ci_high"),
            *("dense_value", "difference", "p_value", "english_difference"),
        ),
    ),
    "english_cost": (
        "Change in English on the test half, mean over the variants of each row",
        ("score", "propagation", "sparsity", "n_variants", "value", "difference", "ci_low", "ci_high"),
    ),
    "demonstrations_compared": (
        "Translation demonstrations compared with monolingual ones and random pruning, without English (Holm)",
        (
            *("opponent", "propagation", "n_comparisons", "mean_difference", "n_wins", "n_losses"),
            *("n_significantly_better", "n_significantly_worse"),
        ),
    ),
}
"""Built-in query -> title of its table, and the columns shown."""

TRY_NEXT = (
    "mlprune query sparsity_curve_by_language --store {store}",
    "mlprune query rank_consistency_to_english --store {store}",
    "mlprune query \"SELECT * FROM lineage WHERE task = 'facts' LIMIT 5\" --store {store} --format json",
)


def run_demo(store_uri: str, *, address: str) -> int:
    """Run the built-in recipe, write the report and print the results; returns the exit code of the run."""
    summary = run_recipe(RECIPE, store_uri, address=address)
    console = Console(width=None if sys.stdout.isatty() else 140)
    store = Store(store_uri)
    report = (store.local_root or Path()) / "report.html"
    with Catalog.open(store) as catalog:
        if not (summary.did_nothing and report.exists()):
            catalog.fold()
            write_report(catalog, report)
        for name, (question, columns) in QUESTIONS.items():
            console.print(_table(question, run_user_query(catalog, name, []).as_dicts(), columns=columns))
    if store.local_root is not None:
        console.print(f"catalog: {store.local_root / 'catalog.duckdb'}", markup=False, soft_wrap=True, highlight=False)
    console.print(f"report:  {report.absolute()}", markup=False, soft_wrap=True, highlight=False)
    console.print("try:", highlight=False)
    for command in TRY_NEXT:
        console.print("  " + command.format(store=store_uri), markup=False, soft_wrap=True, highlight=False)
    return summary.exit_code


def _table(title: str, rows: Sequence[Mapping[str, object]], *, columns: Sequence[str]) -> Table:
    """Build a table of some columns of a query's rows; fractions have three decimals."""
    table = Table(title=title, title_justify="left", header_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        is_number = bool(rows) and _is_number(rows[0][name])
        table.add_column(name.replace("_", " "), justify="right" if is_number else "left")
    for row in rows:
        table.add_row(*(_format_value(row[name]) for name in columns))
    return table


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _format_value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return "" if value is None else str(value)
