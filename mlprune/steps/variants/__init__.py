"""Variants as plain values: their kinds, masks in the store, catalog rows and descriptions."""
