"""Running base models: architectures, loading, placement, observation, masking, scoring and greedy decoding."""
