"""Results in the formats of others: every_eval_ever, and files of lm-evaluation-harness."""
