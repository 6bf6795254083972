"""Jobs that several replicas share."""
