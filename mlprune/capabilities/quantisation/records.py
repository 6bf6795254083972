"""The tables that codes add to the records of blocks."""

from collections.abc import Mapping

OF_BLOCKS: Mapping[str, str | None] = {"quantised_layers": None, "quantisation_errors": None}
"""Table -> its column with the id of the record, if it has one."""
