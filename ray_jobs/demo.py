"""`mlprune demo`: the main job on the embedded model, and its answers as the catalog gives them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import mlprune.demo
from catalog.queries import ask
from catalog.report import write_report
from catalog.store import Catalog
from mlprune.storage import Store
from ray_jobs.running import run_recipe

RECIPE = Path(mlprune.demo.__file__).parent / "recipe.yaml"

QUESTIONS = {
    "best_by_language": "Best variant per language, chosen on the dev half of the facts, reported on the test half",
    "english_cost": "What English paid on the test half, per score and sparsity",
    "demonstrations_compared": "Wanda with translation demonstrations against monolingual ones and random pruning",
}
"""Named query -> the question it answers."""

TRY_NEXT = (
    "mlprune query sparsity_curve_by_language --store {store}",
    "mlprune query rank_consistency_to_english --store {store}",
    "mlprune query \"SELECT * FROM lineage WHERE task = 'facts' LIMIT 5\" --store {store} --format json",
)


def run_demo(store_uri: str, *, address: str) -> int:
    """Run the embedded recipe, write the report, and print the answers; returns the exit code of the run."""
    summary = run_recipe(RECIPE, store_uri, address=address)
    console = Console()
    store = Store(store_uri)
    report = (store.local_root or Path()) / "report.html"
    with Catalog.open(store) as catalog:
        if not (summary.did_nothing and report.exists()):
            catalog.fold()
            write_report(catalog, report)
        for name, question in QUESTIONS.items():
            console.print(_table(question, ask(catalog, name, []).as_dicts()))
    if store.local_root is not None:
        console.print(f"catalog: {store.local_root / 'catalog.duckdb'}", markup=False, soft_wrap=True, highlight=False)
    console.print(f"report:  {report.absolute()}", markup=False, soft_wrap=True, highlight=False)
    console.print("try:", highlight=False)
    for command in TRY_NEXT:
        console.print("  " + command.format(store=store_uri), markup=False, soft_wrap=True, highlight=False)
    return summary.exit_code


def _table(title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """Rows of a query as a table for people: fractions to three places."""
    table = Table(title=title, title_justify="left", header_style="bold")
    for name in rows[0] if rows else ():
        table.add_column(name, overflow="fold", justify="right" if _is_number(rows[0][name]) else "left")
    for row in rows:
        table.add_row(*(_shown(value) for value in row.values()))
    return table


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return "" if value is None else str(value)
