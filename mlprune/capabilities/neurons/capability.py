"""Neurons: how often they fire, variants without those of a language, and the weights that masks remove from each."""

from mlprune.capabilities.capability import Capability
from mlprune.capabilities.neurons.neuron_activity import neuron_jobs
from mlprune.capabilities.neurons.neuron_masks import add_neuron_variants
from mlprune.capabilities.neurons.neuron_removals import removal_jobs

CAPABILITY = Capability("neurons", variants=add_neuron_variants, observe=neuron_jobs, compare=removal_jobs)
