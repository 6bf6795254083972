"""Where and when jobs run: the command line, the driver, and Ray. Importing this package does not import Ray."""
