"""lm-evaluation-harness: its tasks on variants, results from elsewhere, and results in the formats of others."""
