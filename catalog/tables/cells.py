"""Cells of a table: the values of all variants for a task and metric, from the catalog."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from catalog.queries import find_query
from catalog.results import Row, Value
from catalog.store import Catalog
from catalog.tables.spec import RANK_CONSISTENCY, Filters


@dataclass(frozen=True)
class Cell:
    """One value of a variant."""

    value: float
    n: int
    ci_low: float | None = None
    ci_high: float | None = None
    difference: float | None = None
    """To the dense model."""
    p_holm: float | None = None
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
        rows = catalog.query(find_query("cells_of_rank_consistency").sql, {"task": task, "split": split})
    else:
        rows = catalog.query(find_query("cells_of_metric").sql, {"task": task, "metric": metric, "split": split})
    return grouped_cells(rows)


def grouped_cells(rows: Iterable[Row]) -> list[MeasuredVariant]:
    """Group rows of the queries of cells by variant and way of evaluation, in their order."""
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
        p_holm=row["p_holm"],
        test=row["test"],
        n_family=row["n_family"],
        evaluation_id=row["evaluation_id"],
    )
