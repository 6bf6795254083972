"""The table that reconstruction adds to the records of blocks."""

from collections.abc import Mapping

OF_BLOCKS: Mapping[str, str | None] = {"reconstructed_blocks": None}
"""Table -> its column with the id of the record, if it has one."""
