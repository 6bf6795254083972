"""Evaluation tasks: their prompts, their metrics, and the sources of their items."""
