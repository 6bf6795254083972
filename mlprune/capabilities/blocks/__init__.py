"""Whole blocks, which hidden states then pass unchanged, and whole sub-layers, which then add exactly 0 to them."""
