"""Values of the blocks of the dense model that schedules read."""
