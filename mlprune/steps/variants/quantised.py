"""Quantised variants: what they are without quantisation, and their catalog rows."""

from mlprune.hashing import with_defaults
from mlprune.json_values import JsonValue
from mlprune.numeric.weights.quantisation import Quantisation
from mlprune.store.records import Record

Row = dict[str, JsonValue]

UNQUANTISED = "unquantised"
"""Role of the parent of a quantised variant."""


def quantisation_in(variant: Record) -> Quantisation | None:
    """Return how the weights of a variant are quantised, from its record; None if they are not."""
    return with_defaults(Quantisation, variant.parameters) if UNQUANTISED in variant.parents else None


def quantised_columns(variant_id: str, quantisation: Quantisation) -> Row:
    """Return the columns in which a quantised variant differs from its parent."""
    return {
        "variant_id": variant_id,
        "weights_changed": True,
        "bits": quantisation.bits,
        "quantisation_group": quantisation.group,
    }


def quantised_rows(variant_id: str, quantisation: Quantisation, parent: Record) -> dict[str, list[Row]]:
    """Return table -> rows of a quantised variant.

    It removes the same weights as its parent, and its masks are those of the parent. So everything else that the
    catalog says of the parent is also true of the variant.

    Args:
        parent: record of the variant without quantisation.
    """
    own = {"variant_id": variant_id}
    rows: dict[str, list[Row]] = {table: [{**row, **own} for row in rows] for table, rows in parent.rows.items()}
    rows["variants"] = [{**row, **quantised_columns(variant_id, quantisation)} for row in rows["variants"]]
    link: Row = {**own, "parent_variant_id": parent.id, "role": UNQUANTISED}
    rows["variant_parents"] = [*rows.get("variant_parents", []), link]
    return rows
