"""Tasks, their files, and what a pruned model makes of them: scores of candidates, translations, metrics."""
