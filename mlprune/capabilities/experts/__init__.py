"""Experts of mixtures: statistics of what they do, variants without some of them, and their overlap by language."""
