"""The report, for the researcher the morning after: one self-contained HTML page over the catalog; figures as files."""

from catalog.report.page import write_report
from catalog.report.publication import Wanted, write_figures

__all__ = ["Wanted", "write_figures", "write_report"]
