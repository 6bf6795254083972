"""The report, for the researcher the morning after: one self-contained HTML page over the catalog; figures as files."""

from catalog.report.figure_export import FigureSelection, write_figures
from catalog.report.page import write_report

__all__ = ["FigureSelection", "write_figures", "write_report"]
