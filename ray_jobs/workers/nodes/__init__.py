"""Nodes of a Ray cluster during a run: those that join and leave, and the files that each must have."""
