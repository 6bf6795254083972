"""Weight files of a checkpoint: read tensors and slices, and edit single tensors."""
