"""Refiners: rules that improve the mask of a score at equal sparsity, or recover the weights that it keeps."""

from collections.abc import Mapping

from mlprune.methods.method import Refiner

REFINERS: Mapping[str, Refiner] = {}
