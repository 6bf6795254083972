"""Statistics of activations: sums of squares, Gram matrices, aggregation, outliers, neurons, influence."""
