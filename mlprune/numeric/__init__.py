"""Arithmetic on tensors and arrays: statistics, scores, masks, likelihoods, metrics, overlaps and significance."""
