"""Distances of variants from the dense model, as metrics of evaluations."""

from mlprune.capabilities.capability import Capability
from mlprune.capabilities.distance.measurement import states_of_base_texts, states_of_other_texts

CAPABILITY = Capability("distance", observe=states_of_base_texts, evaluate=states_of_other_texts)
