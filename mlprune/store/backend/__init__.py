"""Backend of a store: files in a local folder or in an object store."""
