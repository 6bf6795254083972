"""Running base models: families, loading, placement, observation, masking, scoring and greedy decoding."""
