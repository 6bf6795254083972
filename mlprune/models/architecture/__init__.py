"""Model families: the record of each supported architecture and the checks of a model against it."""
