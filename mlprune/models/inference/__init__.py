"""Inference through the blocks of a model: calls, batches, scoring, decoding, observation."""
