"""Retired files in a plan: which records they belong to, which pending jobs need them, and which are made again."""
