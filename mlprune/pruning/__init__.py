"""From weights and statistics to keep masks: one block at a time."""
