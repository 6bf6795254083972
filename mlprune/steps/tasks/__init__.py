"""Tasks as plain values: what is evaluated, its items, and one evaluation of one variant."""
