"""Layouts in which the data sets of tasks are published, and which are read as they are."""
