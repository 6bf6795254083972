"""The table that recovery adds to the records of variants, and its folder in the store."""

from collections.abc import Mapping

OF_VARIANTS: Mapping[str, str | None] = {"recovery_losses": "variant_id"}
"""Table -> its column with the id of the record."""
FOLDER = "checkpoints"
"""Checkpoints of jobs that run. No record names them, and a finished job removes its own."""
