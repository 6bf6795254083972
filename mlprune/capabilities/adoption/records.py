"""What adopted variants add to records of the core's kinds: a table, and why their masks are not made again."""

from collections.abc import Mapping

ADOPTED = "adopted"
"""Value of the column `score`, and parameter of the identity."""
OF_VARIANTS: Mapping[str, str | None] = {"quantised_checkpoints": "variant_id"}
"""Table to which the record of an adopted quantised variant adds a row -> column with its id."""
NOT_REBUILT: Mapping[str, tuple[str, str]] = {
    ADOPTED: (
        "the masks of an adopted variant are those of its checkpoint, which is not in the store",
        "mlprune import CHECKPOINT --base BASE compares them",
    )
}
"""Parameter of these variants -> why their masks do not follow from the store, and what to do instead."""
