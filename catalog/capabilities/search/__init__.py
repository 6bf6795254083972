"""Searches: tables, queries and figures of trials, winners and fronts."""
