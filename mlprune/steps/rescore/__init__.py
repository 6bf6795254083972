"""New results from stored ones, without running a model."""
