"""Rows of a table: the variants of each row, and the choice between them on the development split."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from catalog.results import Value
from catalog.tables.cells import MeasuredVariant
from catalog.tables.spec import RowSpec, TableSpec
from mlprune.vocabulary import is_higher_better

_PLACEHOLDER = re.compile(r"\{(\w+)\}")


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
        dev_values: variant id -> the value by which variants are chosen; empty if there is no such split.
    """
    for label, candidates in _grouped(row, variants).items():
        known = [variant for variant in candidates if variant.variant_id in dev_values]
        if len(candidates) == 1:
            yield ChosenVariant(label, candidates[0])
        elif known:
            sign = 1 if is_higher_better(spec.chosen_by) else -1
            best = min(
                known,
                key=lambda variant: (
                    -sign * dev_values[variant.variant_id],
                    -float(variant.row["sparsity"]),
                    variant.variant_id,
                ),
            )
            yield ChosenVariant(label, best, len(known))
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
