"""Feed-forward neurons: counts of their activations, variants without some of them, and their removed weights."""
