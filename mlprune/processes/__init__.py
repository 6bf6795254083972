"""Processes of this project: their environment, their names, their threads and their isolation from the system."""
