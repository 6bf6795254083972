"""The report: one self-contained HTML page over the catalog, for the researcher the morning after."""

from catalog.report.page import write_report

__all__ = ["write_report"]
