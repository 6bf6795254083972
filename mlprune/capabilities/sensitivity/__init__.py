"""Sensitivity: what each block, layer or layer of a block costs when only this part is pruned."""
