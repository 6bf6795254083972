"""Run a study of Gemma-3-270M and print its answers: `make real`, or `python -m infra.real [--recipe NAME]`."""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from catalog.queries import answer_user_query, render
from catalog.store import Catalog
from catalog.terminal.result_table import TableOptions
from infra.real.comparisons import compare_arms
from infra.real.evaluations import Evaluation, read_evaluations
from infra.real.model import import_gemma
from infra.real.tables import comparisons_table, values_table, write_tables
from infra.real.values import mean_values
from mlprune.errors import BadInputError
from mlprune.recipe.loading import load_recipe
from mlprune.store.store import Store
from ray_jobs.driver.run_recipe import run_recipe
from ray_jobs.process.signals import GracefulShutdown

RECIPES = Path(__file__).parents[1] / "recipes" / "real"
MODEL = RECIPES / "gemma-3-270m"
STUDIES = ("subset", "flores", "which-text", "which-mix", "where-gemma")
WITH_ARMS = ("subset", "flores")
"""Studies whose values and comparisons are also printed."""
BAD_INPUT = 2


def main() -> int:
    """Import the model, run a recipe of the study, write and print the answers; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m infra.real", description=__doc__)
    parser.add_argument(
        "--recipe", choices=STUDIES, default="subset", help="The first lines of a recipe say what it needs."
    )
    parser.add_argument("--store", default="real-store", help="Store of the results.")
    parser.add_argument("--address", default="local", help="Where to run: local, auto, ray://... or none.")
    arguments = parser.parse_args()
    name = arguments.recipe
    with GracefulShutdown() as shutdown:
        try:
            import_gemma(MODEL)
            summary = run_recipe(RECIPES / f"{name}.yaml", arguments.store, address=arguments.address)
            print_answers(RECIPES / f"{name}.yaml", arguments.store, has_arms=name in WITH_ARMS)
        except BadInputError as err:
            sys.stderr.write(f"mlprune: {err}\n")
            return BAD_INPUT
        except KeyboardInterrupt:
            sys.stderr.write("mlprune: stopped; run the same command again to resume\n")
            return shutdown.exit_code
    return summary.exit_code


def print_answers(recipe: Path, store_uri: str, *, has_arms: bool) -> None:
    """Print the answers to a recipe's questions; with arms also values and comparisons, which become CSV files."""
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(declared_answers(store_uri), markup=False, soft_wrap=True, highlight=False)
    if not has_arms:
        return
    evaluations = read_results(recipe, store_uri)
    values, comparisons = list(mean_values(evaluations)), compare_arms(evaluations)
    for task in dict.fromkeys(each.task for each in values):
        console.print(values_table(values, task))
    console.print(comparisons_table(comparisons))
    folder = Store(store_uri).local_root or Path()
    for path in write_tables(folder, values, comparisons, name=recipe.stem):
        console.print(f"written: {path}", markup=False, soft_wrap=True, highlight=False)


def declared_answers(store_uri: str) -> str:
    """Return a table of the answers to the declared questions of a store."""
    with Catalog.open(Store(store_uri)) as catalog:
        catalog.fold()
        answer = answer_user_query(catalog, "answers_to_questions", ["all_answers=true"])
    return render(answer.result, "table", options=TableOptions(width=140))


def read_results(recipe: Path, store_uri: str) -> list[Evaluation]:
    """Read the evaluations of a recipe that the store has, item by item."""
    with Catalog.open(Store(store_uri)) as catalog:
        catalog.fold()
        return read_evaluations(catalog, load_recipe(recipe))


if __name__ == "__main__":
    sys.exit(main())
