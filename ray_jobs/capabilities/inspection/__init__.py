"""Commands that show what published data and a model have."""
