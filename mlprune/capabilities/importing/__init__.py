"""Import of published checkpoints: a checkpoint in any known format becomes a model folder that mlprune reads.

Foreign files are read in a child process without network, which only loads tensors. Weights are written as safetensors,
tensor by tensor.
"""
