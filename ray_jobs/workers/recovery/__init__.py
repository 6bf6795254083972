"""Recovery: recognise failures of memory, devices and workers, and decide what is tried next."""
