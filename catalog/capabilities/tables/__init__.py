"""Tables for publications: methods in rows, languages in columns, as LaTeX, Markdown and CSV.

A specification says which values are shown; `metric_cells.sql` and `rank_consistency_cells.sql` return them.
"""

from catalog.capabilities.tables.output import FORMATS, build_tables, render_tables, table_format, write_tables
from catalog.capabilities.tables.spec import TableSpec
from catalog.capabilities.tables.spec_file import LIKE, built_in_spec, read_spec

__all__ = [
    "FORMATS",
    "LIKE",
    "TableSpec",
    "build_tables",
    "built_in_spec",
    "read_spec",
    "render_tables",
    "table_format",
    "write_tables",
]
