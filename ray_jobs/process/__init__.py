"""This process: the environment it computes in, and the signals that stop it."""
