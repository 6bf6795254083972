"""Compare: differences between variants, rank consistency, overlaps of masks and features."""
