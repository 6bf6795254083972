"""Plug-ins in recipes: names of methods, and the key `parameters`."""
