"""Tables for publications: methods in rows, languages in columns, as LaTeX, Markdown and CSV.

A specification says which values are shown; the queries `cells_of_metric` and `cells_of_rank_consistency` return them.
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
