"""Reconstruction: kept weights that are fitted to the outputs of the dense blocks."""

from mlprune.capabilities.capability import Capability
from mlprune.capabilities.reconstruction.reconstruct import add_reconstructed, reconstruct_jobs

CAPABILITY = Capability("reconstruction", derived=add_reconstructed, make=reconstruct_jobs)
