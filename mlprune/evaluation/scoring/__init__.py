"""Scoring of texts and translations with a model: batches, prefix trees, candidates, predictions."""
