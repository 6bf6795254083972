"""Architectures of models: discovery by a run without weights, units of blocks, and checks of configs."""
