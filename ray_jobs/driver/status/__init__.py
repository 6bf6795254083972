"""Status: read the progress and state of runs from their logs."""
