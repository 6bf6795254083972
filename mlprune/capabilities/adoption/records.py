"""The masks that adopted variants add; their records are of the core's kinds."""

from collections.abc import Mapping

ADOPTED = "adopted"
"""Value of the column `score`, and parameter of the identity."""
NOT_REBUILT: Mapping[str, tuple[str, str]] = {
    ADOPTED: (
        "the masks of an adopted variant are those of its checkpoint, which is not in the store",
        "mlprune import CHECKPOINT --base BASE compares them",
    )
}
"""Parameter of these variants -> why their masks do not follow from the store, and what to do instead."""
