"""Stage quantise: variants whose weights are rounded to few levels after the masks of another variant."""
