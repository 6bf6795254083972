"""Soak test: kill, pause and damage at random, and compare every finished store with an undisturbed one."""
