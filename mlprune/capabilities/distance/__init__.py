"""How far the distributions of variants are from those of the dense model."""
