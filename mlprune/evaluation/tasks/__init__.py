"""Evaluation tasks: what they ask, how their prompts are written, and where their items are read from."""
