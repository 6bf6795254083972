"""SQL and code of capabilities that read the catalog; each folder belongs to one of `mlprune.capabilities`."""
