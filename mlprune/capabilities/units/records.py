"""The table of variants that units add, and what makes these variants."""

from collections.abc import Mapping

UNIT_TABLES: Mapping[str, str | None] = {"pruned_units": "variant_id"}
"""Table to which the record of a variant without units adds rows -> column with its id."""
VARIANTS: Mapping[str, str] = {"units": "mlprune.capabilities.units.unit_masks:UnitVariants"}
"""Structure -> class that plans and makes its variants."""
