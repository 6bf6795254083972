"""Adapter for lm-evaluation-harness: its requests are answered by a pruned variant."""
