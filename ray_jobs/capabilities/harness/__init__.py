"""Commands that run lm-evaluation-harness, and that exchange results with others."""
