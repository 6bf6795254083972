"""Keep masks: count, combine, pack, hash and compare them."""
