"""Keep masks from weights and statistics, one block at a time."""
