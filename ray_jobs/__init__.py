"""Running jobs: the command line, the driver and the workers. Importing this package does not import Ray."""
