"""Drafts of a recipe's `tasks` for tables in no known layout."""
