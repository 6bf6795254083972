"""Tables, queries and figures of experts."""
