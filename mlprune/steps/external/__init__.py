"""Step `external`: results that were computed elsewhere."""
