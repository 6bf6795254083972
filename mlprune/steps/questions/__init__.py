"""Questions: what a recipe wants to know, and the answers that follow from its comparisons. They run no model."""
