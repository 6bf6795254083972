"""Reconstruction: the kept weights of a variant are fitted, block by block, to the outputs of the dense blocks."""
