"""Tables of query results that fit a terminal."""

from catalog.terminal.result_table import SHORT_ID, TableOptions, format_text, preview, to_table

__all__ = ["SHORT_ID", "TableOptions", "format_text", "preview", "to_table"]
