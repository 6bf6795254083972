"""Stage observe: run the dense model over demonstration sets and store statistics of layer inputs."""
