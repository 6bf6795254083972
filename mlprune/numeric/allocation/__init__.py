"""Distribution of a total sparsity over parts of a model, and the values of blocks that it is computed from."""
