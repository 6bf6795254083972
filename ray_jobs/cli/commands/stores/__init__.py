"""Commands on a whole store: the groups catalog and store, and gc."""
