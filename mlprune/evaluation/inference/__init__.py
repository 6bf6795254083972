"""Statistical inference for metrics: intervals of values, paired differences, and groups of languages."""
