"""Recovery: the kept weights of a variant are optimised together towards the distributions of the dense model."""
