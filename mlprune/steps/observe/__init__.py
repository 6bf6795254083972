"""Observe: run the dense model over demonstration sets and store statistics of what its layers read."""
