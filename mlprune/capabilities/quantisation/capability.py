"""Quantisation: weights that are rounded to few levels."""

from mlprune.capabilities.capability import Capability
from mlprune.capabilities.quantisation.quantise import add_quantised, quantise_jobs

CAPABILITY = Capability("quantisation", derived=add_quantised, make=quantise_jobs)
