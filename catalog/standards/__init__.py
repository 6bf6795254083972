"""Results of the catalog in the formats of others."""

from catalog.standards.evaluated import EvaluatedVariant, evaluated_variants
from catalog.standards.export import FORMATS, export_results
from catalog.standards.request import Request, ResultsExport

__all__ = ["FORMATS", "EvaluatedVariant", "Request", "ResultsExport", "evaluated_variants", "export_results"]
