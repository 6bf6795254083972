"""Commands that work on a store: one module per group."""
