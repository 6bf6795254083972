"""The store: artefacts, records and run files in one folder or behind an object-store URI."""
