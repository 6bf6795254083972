"""Captions: what a table shows, how many items, and which test its marks are from."""

from collections.abc import Mapping

from catalog.tables.cells import Cell
from catalog.tables.spec import RANK_CONSISTENCY, is_fraction
from catalog.tables.table import Table
from mlprune.vocabulary import is_higher_better

BETTER, WORSE = "*", "†"
"""Marks of values that differ significantly from the dense model."""
NAMES = {RANK_CONSISTENCY: "RankC with English", "bleu": "BLEU", "chrf": "chrF", "ece": "ECE"}
"""Metric -> its name in a caption, if that differs."""
TESTS: Mapping[str, str] = {
    "tango": "Tango's score test",
    "sign_flip": "sign flips of clusters of items",
    "randomization": "approximate randomisation",
}
"""Method of a p-value in the catalog -> its name in a caption."""


def value_caption(table: Table) -> str:
    """Return the caption of a table of values."""
    spec = table.spec
    unit = " in percent" if is_fraction(spec.metric) else ""
    parts = [f"{spec.title}: {_name(spec.metric)}{unit}, split {spec.split}, {_sizes(table)}.", *_choice(table)]
    if table.macro_columns:
        parts.append(f"macro: the mean over {', '.join(table.macro_columns)}.")
    direction = "highest" if is_higher_better(spec.metric) else "lowest"
    parts.append(f"Bold: the {direction} value of a column and model.")
    parts.append(_marks(table))
    if any(row.variant.row["intervention"] == "lrp2" for row in table.rows) and "en" in table.columns:
        parts.append("LRP2 leaves English unchanged: that cell is the dense model's.")
    return " ".join(parts)


def interval_caption(table: Table) -> str:
    """Return the caption of the table of intervals."""
    unit = " in percent" if is_fraction(table.spec.metric) else ""
    return (
        f"{table.spec.title}: 95 % intervals of {_name(table.spec.metric)}{unit}, split {table.spec.split}, "
        f"{_sizes(table)}. The catalog has no interval of a macro value."
    )


def _name(metric: str) -> str:
    return NAMES.get(metric, metric)


def _sizes(table: Table) -> str:
    """The number of items per language; one number if it is the same everywhere."""
    sizes: dict[str, set[int]] = {}
    for row in table.rows:
        for column in table.columns:
            cell = row.cell(column)
            if cell is not None:
                sizes.setdefault(column, set()).add(cell.n)
    if len({n for found in sizes.values() for n in found}) == 1:
        return f"n = {next(iter(sizes[table.columns[0]])):,} per column"
    counts = [f"{column} {' to '.join(f'{n:,}' for n in sorted(found))}" for column, found in sizes.items()]
    return f"n = {', '.join(counts)}"


def _choice(table: Table) -> list[str]:
    most = max((row.n_candidates for row in table.rows), default=1)
    if most == 1:
        return []
    spec = table.spec
    over = ", ".join(table.macro_columns or table.columns)
    of = f" of {spec.choose_task} outside English" if spec.is_chosen_elsewhere else f" over {over}"
    return [
        f"Each row is the best of up to {most} variants, chosen on split {spec.choose_on} by the mean "
        f"{_name(spec.chosen_by)}{of} (n = {table.n_dev:,} per language); its sparsity is shown."
    ]


def _marks(table: Table) -> str:
    spec = table.spec
    if not spec.marks:
        return "Differences are not tested here."
    tested = _tested_cells(table)
    if not tested:
        return f"The catalog has no test of {_name(spec.metric)}."
    names = " or ".join(sorted({TESTS.get(cell.test or "", "a test of an earlier version") for cell in tested}))
    sizes = sorted({cell.n_family for cell in tested if cell.n_family is not None})
    family = f"a family of {sizes[-1]:,} tests" if len(sizes) == 1 else f"families of up to {sizes[-1]:,} tests"
    untested = " The macro column is not tested." if table.macro_columns else ""
    return (
        f"{BETTER} significantly better and {WORSE} significantly worse than the dense model "
        f"({names}, p < {spec.alpha:g} after Holm's correction over {family}).{untested}"
    )


def _tested_cells(table: Table) -> list[Cell]:
    cells = [row.cell(column) for row in table.rows for column in table.columns]
    return [cell for cell in cells if cell is not None and cell.p_holm is not None and cell.n_family is not None]
