"""Masks in the weights of a shard: apply and exchange them, and spill those of offloaded blocks."""
