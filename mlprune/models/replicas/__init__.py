"""Several replicas of a model that share the work of one job."""
