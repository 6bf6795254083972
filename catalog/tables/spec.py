"""Specifications of tables: which values, in which rows and columns."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mlprune.vocabulary import METRIC_TRAITS

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
