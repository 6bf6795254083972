"""Workers: run jobs in this process or on Ray."""
