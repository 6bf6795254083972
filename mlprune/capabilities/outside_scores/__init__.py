"""Scores of outputs that another program gave, such as MetricX and COMET, as metrics of stored evaluations."""
