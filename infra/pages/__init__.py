"""Pages of the documentation that are made from the code: `make docs`, or `python -m infra.pages`."""
