"""The report: one self-contained HTML page about all results in a catalog, and its figures as files."""

from catalog.report.figure_export import FigureSelection, write_figures
from catalog.report.page import write_report

__all__ = ["FigureSelection", "write_figures", "write_report"]
