"""Experts: what they do for the tokens of each language, variants without some of them, and their overlap."""

from mlprune.capabilities.capability import Capability
from mlprune.capabilities.experts.expert_overlaps import expert_overlap_jobs
from mlprune.capabilities.experts.expert_statistics import observed_jobs

CAPABILITY = Capability("experts", observe=observed_jobs, compare=expert_overlap_jobs)
