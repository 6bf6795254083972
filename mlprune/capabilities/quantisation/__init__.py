"""Quantisation: the weights of a variant are rounded to few levels after its masks."""
