"""Layouts of parallel text: how publishers name and write aligned sentences in several languages."""
