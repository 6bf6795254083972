"""Where calibration text comes from and how it becomes tokenised demonstrations."""
