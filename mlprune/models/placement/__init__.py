"""Placement of a model's modules on devices, within the memory that a process may use."""
