"""Values of candidates of a search: objective and constraints, computed from predictions."""
