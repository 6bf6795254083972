"""Commands on data that a recipe reads."""
