"""Objectives and constraints of a search: a small language over measures of groups of languages."""
