"""Selection of the weights to remove, per row, matrix, N:M group or cumulative score."""
