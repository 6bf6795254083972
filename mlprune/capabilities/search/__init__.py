"""Searches: ask for trials, evaluate them as variants, and compare the winner on the test split."""
