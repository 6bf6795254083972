"""Specifications of tables, cells of the catalog, and the variants that are chosen for a row."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from catalog.results import Row, Value
from catalog.sql_files import statement
from catalog.store import Catalog
from mlprune.numeric.evaluation.choice import best_candidate
from mlprune.vocabulary import METRIC_TRAITS, is_higher_better

Macro = Literal["all", "outside_english", "none"]
Filter = str | float | bool | None
Filters = Mapping[str, tuple[Filter, ...]]
"""Column of a variant -> the values that match."""
RANK_CONSISTENCY = "rank_consistency"
"""RankC with English, which a table can show like a metric."""
METRICS: tuple[str, ...] = (*METRIC_TRAITS, RANK_CONSISTENCY)
COLUMNS_OF_VARIANTS: tuple[str, ...] = (
    "model",
    "dense",
    "score",
    "set_kind",
    "source_language",
    "target_language",
    "demonstration_label",
    "structure",
    "propagation",
    "sparsity",
    "seed",
    "intervention",
    "profile",
    "settings",
    "evaluation_profile",
    "scoring_rule",
    "protocol",
)
"""Columns of the queries of cells by which rows and tables are filtered."""
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class RowSpec:
    """A row of each model: the variants that match, of which the best on the development split is shown."""

    label: str
    """Label; each combination of values of the `{columns}` in it gives a row of its own."""
    where: Filters


@dataclass(frozen=True)
class TableSpec:
    """One table: methods in rows, languages in columns."""

    name: str
    """Name of its files."""
    title: str
    task: str
    metric: str
    rows: tuple[RowSpec, ...]
    split: str = "test"
    columns: tuple[str, ...] = ()
    """Languages or pairs, in order; empty for all of the store, English first."""
    macro: Macro = "all"
    """Columns whose mean is the last column."""
    choose_on: str | None = "dev"
    """Split on which one of several variants is chosen; None shows each of them."""
    choose_task: str = ""
    """Task whose split the choice is made on; empty for that of the table."""
    choose_by: str = ""
    """Metric of the choice; empty for that of the table, or accuracy for RankC and for another task."""
    where: Filters = field(default_factory=dict)
    """Filters of all rows."""
    marks: bool = True
    """Whether significant differences to the dense model are marked."""
    alpha: float = 0.05
    """Significance level of the marks."""

    @property
    def chosen_by(self) -> str:
        """The metric by which one of several variants is chosen."""
        if self.choose_by:
            return self.choose_by
        return "accuracy" if self.metric == RANK_CONSISTENCY or self.is_chosen_elsewhere else self.metric

    @property
    def is_chosen_elsewhere(self) -> bool:
        """Whether variants are chosen on another task than that of the table."""
        return self.choose_task not in ("", self.task)


def is_fraction(metric: str) -> bool:
    """Whether a metric is a fraction, which tables show in percent."""
    return metric != "perplexity"


@dataclass(frozen=True)
class Cell:
    """One value of a variant."""

    value: float
    n: int
    ci_low: float | None = None
    ci_high: float | None = None
    difference: float | None = None
    """To the dense model."""
    p_corrected: float | None = None
    """p-value of the difference after Holm's correction over the family of the comparison."""
    test: str | None = None
    """Method of the p-value."""
    n_family: int | None = None
    """Number of tests in the family."""
    evaluation_id: str = ""


@dataclass(frozen=True)
class MeasuredVariant:
    """A variant, evaluated in one way, with its cells."""

    row: Row
    """Its columns, see `COLUMNS_OF_VARIANTS`."""
    cells: Mapping[str, Cell]
    """Language or pair -> cell."""

    @property
    def variant_id(self) -> str:
        """Id of the variant."""
        return str(self.row["variant_id"])

    @property
    def block(self) -> tuple[Value, ...]:
        """Base model, profile and way of evaluation: rows of one block are compared with each other."""
        return tuple(self.row[column] for column in ("model", "evaluation_profile", "scoring_rule", "protocol"))

    def matches(self, filters: Filters) -> bool:
        """Whether every filter has the variant's value."""
        return all(self.row[column] in values for column, values in filters.items())


def measured_variants(catalog: Catalog, *, task: str, metric: str, split: str) -> list[MeasuredVariant]:
    """Return all variants that have a value, in the order of models, ways of evaluation and labels."""
    if metric == RANK_CONSISTENCY:
        rows = catalog.query(statement("tables", "rank_consistency_cells"), {"task": task, "split": split})
    else:
        rows = catalog.query(statement("tables", "metric_cells"), {"task": task, "metric": metric, "split": split})
    return grouped_cells(rows)


def grouped_cells(rows: Iterable[Row]) -> list[MeasuredVariant]:
    """Group rows of cells by variant and way of evaluation, in their order."""
    groups: dict[tuple[Value, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(
            (row["variant_id"], row["evaluation_profile"], row["scoring_rule"], row["protocol"]), []
        ).append(row)
    return [MeasuredVariant(group[0], {str(row["language"]): _cell(row) for row in group}) for group in groups.values()]


def languages_in_order(variants: Sequence[MeasuredVariant]) -> list[str]:
    """Return all languages or pairs of some variants, English first."""
    languages = {language for variant in variants for language in variant.cells}
    return sorted(languages, key=lambda language: (language != "en", language))


def _cell(row: Row) -> Cell:
    return Cell(
        value=row["value"],
        n=row["n"],
        ci_low=row["ci_low"],
        ci_high=row["ci_high"],
        difference=row["difference"],
        p_corrected=row["p_corrected"],
        test=row["test"],
        n_family=row["n_family"],
        evaluation_id=row["evaluation_id"],
    )


def placeholders(label: str) -> tuple[str, ...]:
    """The columns of variants in a label."""
    return tuple(_PLACEHOLDER.findall(label))


@dataclass(frozen=True)
class ChosenVariant:
    """The variant of one row."""

    label: str
    variant: MeasuredVariant
    n_candidates: int = 1
    """Number of variants from which it was chosen."""


def choose_rows(
    spec: TableSpec,
    row: RowSpec,
    *,
    variants: Sequence[MeasuredVariant],
    dev_values: Mapping[str, float],
) -> Iterator[ChosenVariant]:
    """Yield the rows of a block that a row of the specification describes.

    Args:
        variants: of the block.
        dev_values: variant id -> the finite value by which variants are chosen; empty if there is no such split. Of
            equal ones (`best_candidate`), the lower sparsity is chosen, then the smaller id.
    """
    for label, candidates in _grouped(row, variants).items():
        known = [variant for variant in candidates if variant.variant_id in dev_values]
        if len(candidates) == 1:
            yield ChosenVariant(label, candidates[0])
        elif known:
            sign = 1 if is_higher_better(spec.chosen_by) else -1
            known.sort(key=lambda variant: (float(variant.row["sparsity"]), variant.variant_id))
            values = np.array([sign * dev_values[variant.variant_id] for variant in known])
            yield ChosenVariant(label, known[best_candidate(values)], len(known))
        else:
            for variant in candidates:
                yield ChosenVariant(_full_label(label, variant, candidates), variant)


def _grouped(row: RowSpec, variants: Sequence[MeasuredVariant]) -> dict[str, list[MeasuredVariant]]:
    """Label -> the variants that have it, in the order of the languages of their demonstrations."""
    groups: dict[str, list[MeasuredVariant]] = {}
    for variant in variants:
        if variant.matches(row.where):
            groups.setdefault(_filled(row.label, variant), []).append(variant)
    return groups


def _filled(label: str, variant: MeasuredVariant) -> str:
    return _PLACEHOLDER.sub(lambda match: _text(variant.row[match[1]]), label)


def _full_label(label: str, variant: MeasuredVariant, others: Sequence[MeasuredVariant]) -> str:
    """The label with what distinguishes the variant from others of its sparsity."""
    same = [other for other in others if other.row["sparsity"] == variant.row["sparsity"]]
    if len(same) == 1:
        return label
    seeds = [other.row["seed"] for other in same]
    return f"{label}, seed {variant.row['seed']}" if len(set(seeds)) == len(seeds) else str(variant.row["label"])


def _text(value: Value) -> str:
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
