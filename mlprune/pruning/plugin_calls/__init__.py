"""Calls of plug-ins: their functions are foreign code, so their results are checked before they are used."""
