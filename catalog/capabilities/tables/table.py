"""A table with its values and caption, and its texts in a grid that all formats share."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from string import Formatter

from catalog.capabilities.tables.spec import (
    RANK_CONSISTENCY,
    Cell,
    MeasuredVariant,
    TableSpec,
    choose_rows,
    is_fraction,
    languages_in_order,
    measured_variants,
)
from catalog.results import Value
from catalog.store import Catalog
from mlprune.vocabulary import is_higher_better

MACRO = "macro"
"""Heading of the macro column."""
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
MISSING = "–"
"""Text of a cell without a value."""


@dataclass(frozen=True)
class TableRow:
    """A method, with the variant that represents it."""

    label: str
    variant: MeasuredVariant
    n_candidates: int
    macro: float | None

    def value(self, column: str) -> float | None:
        """The value in a column."""
        if column == MACRO:
            return self.macro
        cell = self.cell(column)
        return None if cell is None else cell.value

    def cell(self, column: str) -> Cell | None:
        """The cell of a language."""
        return self.variant.cells.get(column)


@dataclass(frozen=True)
class Block:
    """The rows of one base model and way of evaluation."""

    model: str
    rows: tuple[TableRow, ...]


@dataclass(frozen=True)
class Table:
    """A table with its values."""

    spec: TableSpec
    columns: tuple[str, ...]
    macro_columns: tuple[str, ...]
    """Languages of the macro column; empty for no such column."""
    blocks: tuple[Block, ...]
    n_dev: int = 0
    """Number of items per language on which variants were chosen; 0 if none was chosen."""
    notes: tuple[str, ...] = ()
    """One line each about rows and columns that are missing."""

    @property
    def value_columns(self) -> tuple[str, ...]:
        """All columns with values."""
        return (*self.columns, *((MACRO,) if self.macro_columns else ()))

    @property
    def rows(self) -> tuple[TableRow, ...]:
        """The rows of all blocks."""
        return tuple(row for block in self.blocks for row in block.rows)


def build_table(catalog: Catalog, spec: TableSpec) -> Table | None:
    """Read the values of a table from the catalog; None if there are none for its task, metric and split."""
    measured = measured_variants(catalog, task=spec.task, metric=spec.metric, split=spec.split)
    variants = [variant for variant in measured if variant.matches(spec.where)]
    available = languages_in_order(variants)
    columns = tuple(column for column in spec.columns or available if column in available)
    if not columns:
        return None
    macro_columns = _macro_columns(spec, columns)
    dev = _dev_variants(catalog, spec)
    blocks: dict[tuple[Value, ...], Block] = {}
    is_chosen = False
    for key in dict.fromkeys(variant.block for variant in variants):
        members = _in_order([variant for variant in variants if variant.block == key], columns)
        dev_values = _dev_values(spec, dev, block=key, columns=macro_columns or columns)
        chosen = [c for row in spec.rows for c in choose_rows(spec, row, variants=members, dev_values=dev_values)]
        rows = [TableRow(c.label, c.variant, c.n_candidates, _mean(c.variant, macro_columns)) for c in chosen]
        is_chosen = is_chosen or any(row.n_candidates > 1 for row in rows)
        if rows:
            blocks[key] = Block("", tuple(rows))
    if not blocks:
        return None
    named = tuple(Block(name, block.rows) for name, block in zip(_names(list(blocks)), blocks.values(), strict=True))
    n_dev = max((cell.n for variant in dev for cell in variant.cells.values()), default=0) if is_chosen else 0
    return Table(spec, columns, macro_columns, named, n_dev, _notes(spec, columns, variants))


def best_values(table: Table, block: Block) -> Mapping[str, float]:
    """Column -> the best value of a block."""
    pick = max if is_higher_better(table.spec.metric) else min
    values = {column: [row.value(column) for row in block.rows] for column in table.value_columns}
    known = {column: [value for value in found if value is not None] for column, found in values.items()}
    return {column: pick(found) for column, found in known.items() if found}


def _in_order(variants: Sequence[MeasuredVariant], columns: Sequence[str]) -> list[MeasuredVariant]:
    """The variants in the order in which the columns have the source languages of their demonstrations."""
    places = {"en": -1} | {column.partition("-")[0]: place for place, column in enumerate(columns)}
    return sorted(variants, key=lambda variant: places.get(str(variant.row["source_language"]), len(places)))


def _macro_columns(spec: TableSpec, columns: tuple[str, ...]) -> tuple[str, ...]:
    if spec.macro == "none":
        return ()
    return tuple(column for column in columns if spec.macro == "all" or column != "en")


def _dev_variants(catalog: Catalog, spec: TableSpec) -> list[MeasuredVariant]:
    if spec.choose_on is None:
        return []
    task = spec.choose_task or spec.task
    return measured_variants(catalog, task=task, metric=spec.chosen_by, split=spec.choose_on)


def _dev_values(
    spec: TableSpec, dev: Sequence[MeasuredVariant], *, block: tuple[Value, ...], columns: Sequence[str]
) -> dict[str, float]:
    """Variant id -> the value by which a variant of the block is chosen.

    It is the mean over the columns for which the split has values, or over all languages outside English on another
    task, for the variants that have all of them and a finite mean. Of several ways to evaluate another task in the
    profile of the block, the first is used.
    """
    blocks = [variant.block for variant in dev if variant.block[:2] == block[:2]]
    used_block = blocks[0] if spec.is_chosen_elsewhere and blocks else block
    variants = [variant for variant in dev if variant.block == used_block]
    available = languages_in_order(variants)
    wanted = [language for language in available if language != "en"] if spec.is_chosen_elsewhere else columns
    used = [column for column in wanted if column in available]
    means = {variant.variant_id: _mean(variant, used) for variant in variants}
    return {variant_id: mean for variant_id, mean in means.items() if mean is not None and math.isfinite(mean)}


def _mean(variant: MeasuredVariant, columns: Sequence[str]) -> float | None:
    """The mean over some languages; None if one is missing."""
    cells = [variant.cells.get(column) for column in columns]
    values = [cell.value for cell in cells if cell is not None]
    return sum(values) / len(values) if values and len(values) == len(cells) else None


def _names(keys: list[tuple[Value, ...]]) -> list[str]:
    """Names of blocks: the model, followed by the parts of the way of evaluation that differ between blocks."""
    differs = [len({key[i] for key in keys}) > 1 for i in (2, 3)]
    return [
        ", ".join(
            [str(key[0]), *(str(part or "defaults") for part, shown in zip(key[2:], differs, strict=True) if shown)]
        )
        for key in keys
    ]


def _notes(spec: TableSpec, columns: Sequence[str], variants: Sequence[MeasuredVariant]) -> tuple[str, ...]:
    missing = [column for column in spec.columns if column not in columns]
    empty = [_fixed_text(row.label) for row in spec.rows if not any(variant.matches(row.where) for variant in variants)]
    return (
        *([f"{spec.name}: no values in the columns {', '.join(missing)}"] if missing else []),
        *([f"{spec.name}: no variants for the rows {'; '.join(empty)}"] if empty else []),
    )


def _fixed_text(label: str) -> str:
    """Return a label without the fields that a variant fills in; the whole label if it has nothing else."""
    return " ".join("".join(text for text, *_ in Formatter().parse(label)).split()) or label


def value_caption(table: Table) -> str:
    """Return the caption of a table of values."""
    spec = table.spec
    unit = " in percent" if is_fraction(spec.metric) else ""
    parts = [f"{spec.title}: {_name(spec.metric)}{unit}, split {spec.split}, {_sizes(table)}.", *_choice(table)]
    if table.macro_columns:
        parts.append(f"macro: the mean over {', '.join(table.macro_columns)}.")
    direction = "highest" if is_higher_better(spec.metric) else "lowest"
    parts.append(f"Bold: the {direction} value of a column and model, not tested against the next one.")
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
    cells = [row.cell(column) for row in table.rows for column in table.columns]
    tested = [cell for cell in cells if cell is not None and cell.p_corrected is not None and cell.n_family is not None]
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


@dataclass(frozen=True)
class GridCell:
    """One text."""

    text: str
    is_bold: bool = False
    mark: str = ""


@dataclass(frozen=True)
class Grid:
    """A table of texts."""

    name: str
    caption: str
    n_labels: int
    """Number of columns from the left that have labels; the others have numbers."""
    header: tuple[str, ...]
    blocks: tuple[tuple[tuple[GridCell, ...], ...], ...]
    """Blocks of rows of cells."""


def value_grid(table: Table) -> Grid:
    """Lay out the values: bold for the best of a column and block, and marks for significant differences."""
    blocks = []
    for block in table.blocks:
        best = {column: _number(table, value) for column, value in best_values(table, block).items()}

        def text(row: TableRow, column: str, best: dict[str, str] = best) -> GridCell:
            shown = _number(table, row.value(column))
            cell = None if column == MACRO else row.cell(column)
            return GridCell(shown, shown == best.get(column), _mark(table, cell))

        blocks.append(_laid_out(table, block.model, rows=block.rows, columns=table.value_columns, text=text))
    return Grid(table.spec.name, value_caption(table), 3, _header(table, table.value_columns), tuple(blocks))


def interval_grid(table: Table) -> Grid | None:
    """Lay out the intervals of the same cells; None if the catalog has no intervals of the metric."""
    cells = [row.cell(column) for row in table.rows for column in table.columns]
    if all(cell is None or cell.ci_low is None for cell in cells):
        return None

    def text(row: TableRow, column: str) -> GridCell:
        cell = row.cell(column)
        if cell is None or cell.ci_low is None or cell.ci_high is None:
            return GridCell(MISSING)
        return GridCell(f"{_number(table, cell.ci_low)} to {_number(table, cell.ci_high)}")

    blocks = tuple(
        _laid_out(table, block.model, rows=block.rows, columns=table.columns, text=text) for block in table.blocks
    )
    return Grid(f"{table.spec.name}-intervals", interval_caption(table), 3, _header(table, table.columns), blocks)


def _header(table: Table, columns: tuple[str, ...]) -> tuple[str, ...]:
    return ("model", "method", "sparsity", *columns)


def _laid_out(
    table: Table,
    model: str,
    *,
    rows: tuple[TableRow, ...],
    columns: tuple[str, ...],
    text: Callable[[TableRow, str], GridCell],
) -> tuple[tuple[GridCell, ...], ...]:
    """Rows of a block, with the model in the first one only."""
    return tuple(
        (
            GridCell(model if place == 0 else ""),
            GridCell(row.label),
            GridCell(f"{sparsity:.3g}" if (sparsity := row.variant.row["sparsity"]) else MISSING),
            *(text(row, column) for column in columns),
        )
        for place, row in enumerate(rows)
    )


def _number(table: Table, value: float | None) -> str:
    if value is None:
        return MISSING
    return f"{100 * value:.1f}" if is_fraction(table.spec.metric) else f"{value:.2f}"


def _mark(table: Table, cell: Cell | None) -> str:
    if not table.spec.marks or cell is None or cell.p_corrected is None or cell.difference is None:
        return ""
    if cell.p_corrected >= table.spec.alpha:
        return ""
    return BETTER if (cell.difference > 0) == is_higher_better(table.spec.metric) else WORSE
