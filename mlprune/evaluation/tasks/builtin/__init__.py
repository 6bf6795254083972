"""Built-in tasks, one module each: template, metrics, source and published data set."""
