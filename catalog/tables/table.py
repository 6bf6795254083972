"""A table with its values: blocks of rows for each model, columns for languages, and the macro column."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Formatter

from catalog.results import Value
from catalog.store import Catalog
from catalog.tables.cells import Cell, MeasuredVariant, languages_in_order, measured_variants
from catalog.tables.choice import choose_rows
from catalog.tables.spec import TableSpec
from mlprune.vocabulary import is_higher_better

MACRO = "macro"
"""Heading of the macro column."""


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
    task, for the variants that have all of them. Of several ways to evaluate another task in the profile of the block,
    the first is used.
    """
    blocks = [variant.block for variant in dev if variant.block[:2] == block[:2]]
    used_block = blocks[0] if spec.is_chosen_elsewhere and blocks else block
    variants = [variant for variant in dev if variant.block == used_block]
    available = languages_in_order(variants)
    wanted = [language for language in available if language != "en"] if spec.is_chosen_elsewhere else columns
    used = [column for column in wanted if column in available]
    means = {variant.variant_id: _mean(variant, used) for variant in variants}
    return {variant_id: mean for variant_id, mean in means.items() if mean is not None}


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
