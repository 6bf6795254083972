"""The store: artefacts, records and run files in one folder or in an object store."""
