"""Shares of distinct tokens: how varied the tokens of a demonstration set are, by language."""
