"""Retention: choose which files of masks a store keeps, and remove the others, so that a run can make them again."""
